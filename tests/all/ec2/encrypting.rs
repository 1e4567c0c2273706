//! Replacing volumes by encrypted copies: what is refused, how it is done and in which order, and what is left when something fails on the
//! way. Every call failing once is in `faults.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::ec2::{Machine, World, writes};
use crate::support::{Response, directory, proxy, report, xml};

/// A running instance with a data volume at `/dev/sdf`, and a key.
struct Case {
    world: World,
    machine: Machine,
    data: String,
    key: String,
    before: Vec<(String, String, bool)>,
}

impl Case {
    fn new() -> Self {
        let world = World::new();
        let machine = world.instance(&[]);
        let data = world.volume(&[("Iops", "4000"), ("Throughput", "300")]);
        world.attach(&data, &machine.id, "/dev/sdf");
        Case { before: world.attached(&machine.id), key: world.key(), machine, data, world }
    }

    fn one(&self) -> String {
        format!("ec2 encrypt_volume --volume_id {} --kms_key_id {}", self.data, self.key)
    }

    fn all(&self) -> String {
        format!("ec2 encrypt_instance_volumes --instance_id {} --kms_key_id {}", self.machine.id, self.key)
    }

    /// The volume at `/dev/sdf`.
    fn at_device(&self) -> String {
        let devices = self.world.attached(&self.machine.id);
        devices.into_iter().find(|(device, ..)| device == "/dev/sdf").map(|(_, volume, _)| volume).expect("a volume at the device")
    }

    /// Everything is as it was, and nothing is left over.
    #[track_caller]
    fn is_undone(&self) {
        assert_eq!(self.world.attached(&self.machine.id), self.before, "the originals are not where they were");
        assert_eq!(self.world.instance_state(&self.machine.id).as_deref(), Some("running"));
        assert_eq!(self.world.snapshots(), [""; 0]);
        let mut originals = vec![self.machine.root.clone(), self.data.clone()];
        originals.sort();
        assert_eq!(self.world.volumes(), originals, "a copy is left over");
    }

    /// The copy is where the original was, which is kept, and nothing else is left over.
    #[track_caller]
    fn is_swapped(&self) {
        let copy = self.at_device();
        assert_ne!(copy, self.data);
        assert!(self.world.describe_volume(&copy).contains("<encrypted>true</encrypted>"));
        assert_eq!(self.world.volume_state(&self.data).as_deref(), Some("available"));
        assert_eq!(self.world.instance_state(&self.machine.id).as_deref(), Some("running"));
        assert_eq!(self.world.snapshots(), [""; 0], "a snapshot is left over");
        assert_eq!(self.world.volumes().len(), 3, "root, original and copy");
    }
}

/// What a volume is made of, in the words of EC2.
fn made_of(world: &World, volume: &str) -> [Vec<String>; 6] {
    let said = world.describe_volume(volume);
    ["volumeType", "size", "iops", "throughput", "availabilityZone", "multiAttachEnabled"].map(|name| xml::texts(&said, name))
}

// --- What is refused ---

/// As a run leaves it that is killed between taking the original away and putting the copy there.
#[test]
fn an_instance_whose_root_device_is_empty_is_refused() {
    let case = Case::new();
    case.world.ec2("StopInstances", &[("InstanceId.1", &case.machine.id)]);
    case.world.ec2("DetachVolume", &[("VolumeId", &case.machine.root), ("InstanceId", &case.machine.id), ("Device", "/dev/sda1")]);
    let server = case.world.proxy().start();
    for line in [case.all(), case.one()] {
        case.world.aaws_via(&server, line).run().exits(3).logs("is empty");
    }
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn a_volume_that_is_being_detached_is_refused() {
    let case = Case::new();
    let server = case.world.proxy().rewrite("DescribeVolumes", |_, xml| xml.replace("<status>attached", "<status>detaching")).start();
    for line in [case.one(), case.all()] {
        case.world.aaws_via(&server, line).run().exits(3).logs("detaching");
    }
    assert_eq!(writes(&server), [""; 0]);
}

/// What EBS does with the key, it does in the caller's name.
#[test]
fn the_policy_lets_ebs_use_the_key_and_no_more() {
    let case = Case::new();
    for line in [case.one(), case.all()] {
        let flags = line.replacen("ec2", "permissions ec2", 1);
        let policy = case.world.aaws(flags).run().ok().json();
        let statements = policy["Statement"].as_array().expect("statements");
        let of = |action: &str| {
            let allows = |s: &&Value| s["Action"].as_array().is_some_and(|actions| actions.iter().any(|a| a == action));
            statements.iter().filter(allows).map(|s| s["Condition"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(of("kms:CreateGrant"), [json!({"Bool": {"kms:GrantIsForAWSResource": ["true"]}})], "{line}");
        for action in ["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"] {
            let conditions = of(action);
            assert!(conditions.len() == 1 && conditions[0].to_string().contains("kms:ViaService"), "{line}: {action}: {conditions:?}");
        }
        assert_eq!(of("kms:Encrypt"), [Value::Null; 0], "{line}");
        // Whether a volume goes with its instance may be checked on the volume, too.
        let modify = statements.iter().find(|s| s["Action"].to_string().contains("ec2:ModifyInstanceAttribute")).expect("a statement");
        assert!(modify["Resource"].to_string().contains(":volume/*"), "{line}: {modify}");
        // All that undoing takes is there, too.
        for action in ["ec2:StartInstances", "ec2:DetachVolume", "ec2:AttachVolume", "ec2:DeleteVolume", "ec2:DeleteSnapshot"] {
            assert_eq!(of(action).len(), 1, "{line}: {action}");
        }
    }
}

#[test]
fn instances_of_groups_protected_ones_and_volumes_of_several_are_refused_before_anything_is_touched() {
    let world = World::new();
    let key = world.key();
    let refused = |world: &World, id: &str, why: &str| {
        let server = world.proxy().start();
        let line = format!("ec2 encrypt_volume --volume_id {id} --kms_key_id {key}");
        world.aaws_via(&server, line).run().exits(3).logs(why);
        assert_eq!(writes(&server), [""; 0], "{why}");
    };
    let grouped = world.instance(&[]);
    world.tag(&grouped.id, "aws:autoscaling:groupName", "web");
    refused(&world, &grouped.root, "`web`");
    let protected = world.instance(&[("DisableApiStop", "true")]);
    refused(&world, &protected.root, "protected");

    // Attached to two instances at once.
    let shared = world.volume(&[("VolumeType", "io2"), ("Iops", "100"), ("MultiAttachEnabled", "true")]);
    let attachment = |id: &str| format!("<item><instanceId>{id}</instanceId><device>/dev/sdf</device><status>attached</status></item>");
    let set = format!("<attachmentSet>{}{}</attachmentSet>", attachment("i-1"), attachment("i-2"));
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", move |_, xml| xml.replace("<attachmentSet/>", &set).replace("<attachmentSet></attachmentSet>", &set))
        .start();
    let line = format!("ec2 encrypt_volume --volume_id {shared} --kms_key_id {key}");
    world.aaws_via(&server, line).run().exits(3).logs("2 instances");
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn what_could_not_be_undone_or_would_be_lost_is_refused_before_anything_is_touched() {
    let marketplace = "<productCodes><item><productCode>abc</productCode><type>marketplace</type></item></productCodes>";
    let operator = "<operator><managed>true</managed><principal>eks.amazonaws.com</principal></operator>";
    let cases: [(&str, &str, String, &str); 9] = [
        ("DescribeInstances", "<productCodes/>", marketplace.into(), "Marketplace"),
        (
            "DescribeInstances",
            "<hibernationOptions/>",
            "<hibernationOptions><configured>true</configured></hibernationOptions>".into(),
            "hibernate",
        ),
        ("DescribeInstances", "<rootDeviceType>ebs", "<rootDeviceType>instance-store".into(), "instance store"),
        ("DescribeInstances", "<imageId>", "<instanceLifecycle>spot</instanceLifecycle><imageId>".into(), "Spot"),
        ("DescribeInstances", "<imageId>", format!("{operator}<imageId>"), "managed"),
        ("DescribeInstances", "<name>running", "<name>pending".into(), "pending"),
        ("DescribeInstances", "<name>running", "<name>shutting-down".into(), "shutting-down"),
        ("DescribeVolumes", "<volumeType>", format!("{operator}<volumeType>"), "eks.amazonaws.com"),
        ("DescribeInstanceTypes", "<encryptionSupport>supported", "<encryptionSupport>unsupported".into(), "encrypted volumes"),
    ];
    let case = Case::new();
    for (operation, from, to, why) in cases {
        for line in [case.one(), case.all()] {
            let (from, to) = (from.to_owned(), to.clone());
            let server = case.world.proxy().rewrite(operation, move |_, xml| xml.replace(&from, &to)).start();
            let output = case.world.aaws_via(&server, &line).run().exits(3).logs(why);
            assert_eq!(output.json(), json!(null));
            // A dry run says the same.
            case.world.aaws_via(&server, format!("{line} --dry_run")).run().exits(3).logs(why);
            assert_eq!(writes(&server), [""; 0], "{why}");
        }
    }
    case.is_undone();
}

#[test]
fn an_instance_of_a_group_is_stopped_only_when_that_is_meant() {
    let case = Case::new();
    case.world.tag(&case.machine.id, "aws:autoscaling:groupName", "web");
    let server = case.world.proxy().start();
    for line in [case.one(), case.all()] {
        case.world.aaws_via(&server, line).run().exits(3).logs("`web`");
    }
    assert_eq!(writes(&server), [""; 0]);
    case.world.aaws(format!("{} --auto_scaling", case.one())).run().ok();
    case.is_swapped();
}

#[test]
fn a_key_that_cannot_be_used_is_refused_before_anything_is_touched() {
    let world = World::new();
    let volume = world.volume(&[]);
    let server = world.proxy().rewrite("DescribeKey", |_, text| text.replace("\"Enabled\"", "\"Disabled\"")).start();
    let line = format!("ec2 encrypt_volume --volume_id {volume} --kms_key_id {}", world.key());
    world.aaws_via(&server, line).run().exits(2).silent().logs("Disabled");
    assert_eq!(writes(&server), [""; 0]);
    world.aaws(format!("ec2 encrypt_volume --volume_id {volume} --kms_key_id no-such-key")).run().exits(1).logs("NotFoundException");
}

#[test]
fn keys_that_ebs_could_not_use_are_refused_before_anything_is_touched() {
    let case = Case::new();
    let keys = [
        (r#""KeyState":"Enabled""#, r#""KeyState":"PendingDeletion""#, "PendingDeletion"),
        (r#""SYMMETRIC_DEFAULT""#, r#""RSA_2048""#, "symmetric"),
        (r#""KeyUsage":null"#, r#""KeyUsage":"SIGN_VERIFY""#, "symmetric"),
        (":us-east-1:", ":eu-west-1:", "eu-west-1"),
    ];
    for (from, to, why) in keys {
        let server = case.world.proxy().rewrite("DescribeKey", move |_, text| text.replace(from, to)).start();
        for line in [case.one(), case.all()] {
            case.world.aaws_via(&server, line).run().exits(2).silent().logs(why);
        }
        assert_eq!(writes(&server), [""; 0], "{why}");
    }
    // One that may not be looked at, and one that there is none of.
    let server = case.world.proxy().refuse("DescribeKey", 400, "AccessDeniedException").start();
    case.world.aaws_via(&server, case.one()).run().exits(1).silent().logs("AccessDeniedException");
    assert_eq!(writes(&server), [""; 0]);
    let server = case.world.proxy().start();
    let line = case.all().replace(&case.key, "alias/no-such-key");
    case.world.aaws_via(&server, line).run().exits(1).silent().logs("NotFoundException");
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn what_does_not_exist_is_a_failure() {
    let case = Case::new();
    let server = case.world.proxy().start();
    for line in [case.one().replace(&case.data, "vol-0000000000000bad"), case.all().replace(&case.machine.id, "i-0000000000000bad")] {
        let output = case.world.aaws_via(&server, line).run().exits(3).logs("0bad").logs("NotFound");
        assert_eq!(output.json(), json!(null));
    }
    assert_eq!(writes(&server), [""; 0]);
}

// --- How it is done ---

#[test]
fn a_plan_names_the_instance_the_volumes_and_what_is_lost() {
    let case = Case::new();
    let server = case.world.proxy().start();
    for line in [case.one(), case.all()] {
        let plan = case.world.aaws_via(&server, format!("{line} --dry_run")).run().ok().json();
        let message = plan[0]["message"].as_str().unwrap_or_default();
        for part in [case.machine.id.as_str(), case.data.as_str(), "stopped", "address"] {
            assert!(message.contains(part), "no {part} in {message}");
        }
    }
    assert_eq!(writes(&server), [""; 0]);
    // Instance store volumes lose what is on them.
    let server = case
        .world
        .proxy()
        .rewrite("DescribeInstanceTypes", |_, xml| xml.replace("<instanceStorageSupported>false", "<instanceStorageSupported>true"))
        .start();
    let plan = case.world.aaws_via(&server, format!("{} --dry_run", case.one())).run().ok().json();
    assert!(plan[0]["message"].as_str().is_some_and(|m| m.contains("instance store")), "{plan}");
}

#[test]
fn the_copy_is_as_the_original_was_but_for_the_key() {
    let world = World::new();
    let machine = world.instance(&[]);
    let data = world.volume(&[("Size", "20"), ("Iops", "4000"), ("Throughput", "300")]);
    world.attach(&data, &machine.id, "/dev/sdf");
    world.tag(&data, "Env", "prod");
    world.tag(&data, "aws:cloudformation:stack-name", "web");
    for device in ["/dev/sda1", "/dev/sdf"] {
        let mapping = [("BlockDeviceMapping.1.DeviceName", device), ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")];
        world.ec2("ModifyInstanceAttribute", &[("InstanceId", machine.id.as_str()), mapping[0], mapping[1]]);
    }
    let key = world.key();
    let server = world.proxy().start();
    let output = world.aaws_via(&server, format!("ec2 encrypt_volume --volume_id {data} --kms_key_id {key}")).run().ok();
    let copy = output.json().as_str().expect("an id").to_owned();
    assert_ne!(copy, data);
    assert_eq!(made_of(&world, &copy), made_of(&world, &data));
    assert!(world.describe_volume(&copy).contains("<encrypted>true</encrypted>") && world.describe_volume(&copy).contains(&key));
    let tagged = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let of_copy = [tagged("Env", "prod"), tagged("aaws:encrypted-original", &data)];
    assert_eq!(world.tags(&copy), of_copy, "tags of AWS cannot be copied");
    assert!(world.tags(&data).contains(&tagged("aaws:encrypted-copy", &copy)), "the original names its copy");
    let devices = world.attached(&machine.id);
    assert_eq!(devices, [("/dev/sda1".to_owned(), machine.root, true), ("/dev/sdf".to_owned(), copy, true)]);
    assert_eq!(world.volume_state(&data).as_deref(), Some("available"), "the original is kept");
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!(world.snapshots(), [""; 0]);
    // What was written until the stop is in the copy.
    let order = writes(&server);
    let place = |operation: &str| order.iter().position(|o| o == operation);
    assert!(place("StopInstances") < place("CreateSnapshot"), "{order:?}");
    assert_eq!(order.last().map(String::as_str), Some("DeleteSnapshot"));
}

#[test]
fn a_copy_is_made_on_the_outpost_of_its_original_and_each_step_is_said_before_it_is_taken() {
    let case = Case::new();
    let outpost = "arn:aws:outposts:us-east-1:1:outpost/op-1";
    let told = format!("<outpostArn>{outpost}</outpostArn><volumeType>");
    let server = case.world.proxy().rewrite("DescribeVolumes", move |_, xml| xml.replace("<volumeType>", &told)).start();
    let output = case.world.aaws_via(&server, case.one()).run();
    assert_eq!(server.requests("CreateVolume")[0].parameter("OutpostArn").as_deref(), Some(outpost));
    // Enough to bring the instance back by hand when the run is killed.
    for said in [format!("stop {}", case.machine.id), format!("in the place of {}, /dev/sdf of {}", case.data, case.machine.id)] {
        assert!(output.stderr.contains(&said), "{said}: {output}");
    }
}

#[test]
fn iops_and_throughput_are_asked_for_only_of_types_that_have_them_to_choose() {
    let world = World::new();
    let key = world.key();
    let copy = |parameters: &[(&str, &str)]| {
        let original = world.volume(parameters);
        let server = world.proxy().start();
        let line = format!("ec2 encrypt_volume --volume_id {original} --kms_key_id {key}");
        let made = world.aaws_via(&server, line).run().ok().json();
        let made = made.as_str().expect("an id").to_owned();
        assert_eq!(made_of(&world, &made), made_of(&world, &original));
        let request = server.requests("CreateVolume").remove(0);
        (request.parameter("Iops"), request.parameter("Throughput"), request.parameter("MultiAttachEnabled"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        copy(&[("VolumeType", "gp2"), ("Size", "2000")]),
        (None, None, None),
        "that EC2 tells IOPS of it does not mean that it takes any"
    );
    assert_eq!(copy(&[("VolumeType", "st1"), ("Size", "125")]), (None, None, None));
    assert_eq!(copy(&[("VolumeType", "standard")]), (None, None, None));
    assert_eq!(copy(&[("VolumeType", "io1"), ("Size", "100"), ("Iops", "4000")]), (some("4000"), None, None));
    let shared = [("VolumeType", "io2"), ("Size", "100"), ("Iops", "4000"), ("MultiAttachEnabled", "true")];
    assert_eq!(copy(&shared), (some("4000"), None, some("true")));
    assert_eq!(copy(&[("Iops", "4000"), ("Throughput", "300")]), (some("4000"), some("300"), None));
}

#[test]
fn tags_of_a_copy_are_set_in_the_creating_call_without_awss_own() {
    let case = Case::new();
    case.world.tag(&case.data, "Env", "prod");
    case.world.tag(&case.data, "Empty", "");
    case.world.tag(&case.data, "aws:cloudformation:stack-name", "web");
    let server = case.world.proxy().start();
    case.world.aaws_via(&server, case.all()).run().ok();
    let own = [
        ("Empty".to_owned(), String::new()),
        ("Env".to_owned(), "prod".to_owned()),
        ("aaws:encrypted-original".to_owned(), case.data.clone()),
    ];
    assert_eq!(case.world.tags(&case.at_device()), own);
    // Copies are tagged as they are made; their originals when all is done, to name them.
    assert_eq!(server.count("CreateTags"), 2);
    let tagged = server.requests("CreateVolume").iter().filter(|request| request.text().contains("TagSpecification")).count();
    assert_eq!(tagged, 2);
}

#[test]
fn all_volumes_of_an_instance_are_replaced_in_one_stop() {
    let world = World::new();
    let machine = world.instance(&[]);
    let (data, done) = (world.volume(&[]), world.volume(&[("Encrypted", "true")]));
    world.attach(&data, &machine.id, "/dev/sdf");
    world.attach(&done, &machine.id, "/dev/sdg");
    let server = world.proxy().start();
    let line = format!("ec2 encrypt_instance_volumes --instance_id {} --kms_key_id {}", machine.id, world.key());
    assert_eq!(world.aaws_via(&server, &line).run().ok().json(), json!(machine.id));
    let devices: Vec<String> = world.attached(&machine.id).into_iter().map(|(_, volume, _)| volume).collect();
    assert!(!devices.contains(&machine.root) && !devices.contains(&data) && devices.contains(&done), "{devices:?}");
    assert_eq!((server.count("StopInstances"), server.count("StartInstances"), server.count("CreateVolume")), (1, 1, 2));
    // Nothing is left to do.
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, &line).run().ok().json(), json!(machine.id));
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn all_is_copied_before_anything_is_swapped_and_no_two_devices_are_empty_at_once() {
    let case = Case::new();
    let more = case.world.volume(&[]);
    case.world.attach(&more, &case.machine.id, "/dev/sdg");
    let server = case.world.proxy().start();
    case.world.aaws_via(&server, case.all()).run().ok();
    let mut order = writes(&server);
    order.retain(|o| o != "ModifyInstanceAttribute");
    let times = |operation: &str| vec![operation.to_owned(); 3];
    let swap = ["DetachVolume", "AttachVolume"].map(str::to_owned);
    let wanted = [
        vec!["StopInstances".to_owned()],
        times("CreateSnapshot"),
        times("CreateVolume"),
        swap.iter().cycle().take(6).cloned().collect(),
        vec!["StartInstances".to_owned()],
        times("CreateTags"),
        times("DeleteSnapshot"),
    ];
    assert_eq!(order, wanted.concat());
    // What is written until the stop is complete is in the copies: they are begun only when the instance is seen stopped.
    let operations = server.operations();
    let stop = operations.iter().position(|o| o == "StopInstances").unwrap_or_default();
    assert_eq!(operations.get(stop + 1..stop + 3), Some(&["DescribeInstances".to_owned(), "CreateSnapshot".to_owned()][..]));
    // The root volume still goes with its instance, the others stay.
    let going: Vec<_> = case.world.attached(&case.machine.id).into_iter().map(|(device, _, goes)| (device, goes)).collect();
    let was: Vec<_> = case.before.iter().map(|(device, _, goes)| (device.clone(), *goes)).chain([("/dev/sdg".to_owned(), false)]).collect();
    assert_eq!(going, was);
}

#[test]
fn stopped_instances_stay_stopped_and_detached_volumes_stay_detached() {
    let world = World::new();
    let machine = world.instance(&[]);
    world.stop(&machine.id);
    let key = world.key();
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 encrypt_volume --volume_id {} --kms_key_id {key}", machine.root)).run().ok();
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("stopped"));
    assert_eq!(server.count("StartInstances") + server.count("StopInstances"), 0);

    let free = world.volume(&[]);
    let copy = world.aaws(format!("ec2 encrypt_volume --volume_id {free} --kms_key_id {key}")).run().ok().json();
    assert_eq!(world.volume_state(copy.as_str().unwrap_or_default()).as_deref(), Some("available"));
}

#[test]
fn what_is_encrypted_is_left_unless_it_is_to_be_done_again() {
    let world = World::new();
    let volume = world.volume(&[("Encrypted", "true")]);
    let line = format!("ec2 encrypt_volume --volume_id {volume} --kms_key_id {}", world.key());
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, &line).run().ok().json(), json!(volume));
    assert_eq!(writes(&server), [""; 0]);
    let again = world.aaws(format!("{line} --re_encrypt")).run().ok().json();
    assert_ne!(again, json!(volume));
}

#[test]
fn a_volume_that_has_the_very_key_is_left_even_when_it_is_to_be_done_again() {
    let case = Case::new();
    case.world.aaws(case.one()).run().ok();
    let copy = case.at_device();
    let alias = "alias/of-the-tests";
    case.world.alias(alias, &case.key);
    let arn = format!("arn:aws:kms:us-east-1:{}:key/{}", case.world.account.id, case.key);
    // However the key is named.
    for key in [case.key.as_str(), arn.as_str(), alias] {
        let server = case.world.proxy().start();
        let line = format!("ec2 encrypt_volume --volume_id {copy} --kms_key_id {key} --re_encrypt");
        let output = case.world.aaws_via(&server, line).run().ok().logs("with this key");
        assert_eq!(output.json(), json!(copy), "{key}");
        assert_eq!(writes(&server), [""; 0], "{key}");
    }
    // Another key is another matter, and the tags of the first swap do not stay.
    let other = case.world.key();
    let line = format!("ec2 encrypt_volume --volume_id {copy} --kms_key_id {other} --re_encrypt");
    let second = case.world.aaws(line).run().ok().json();
    let second = second.as_str().expect("an id");
    assert_eq!(case.world.tags(second), [("aaws:encrypted-original".to_owned(), copy)]);
}

#[test]
fn a_volume_with_fifty_tags_is_copied_without_one_more() {
    let world = World::new();
    let volume = world.volume(&[]);
    (0..50).for_each(|n| world.tag(&volume, &format!("key-{n}"), "x"));
    let copy = world.aaws(format!("ec2 encrypt_volume --volume_id {volume} --kms_key_id {}", world.key())).run().ok().json();
    let tags = world.tags(copy.as_str().expect("an id"));
    assert!(tags.len() == 50 && tags.iter().all(|(key, _)| key.starts_with("key-")), "{tags:?}");
}

#[test]
fn copies_are_loaded_at_the_rate_that_is_asked_for() {
    let case = Case::new();
    let server = case.world.proxy().start();
    for rate in [99, 301] {
        let line = format!("{} --volume_initialization_rate {rate}", case.one());
        case.world.aaws_via(&server, line).run().exits(2).silent().logs("volume_initialization_rate");
    }
    assert_eq!(server.operations(), [""; 0]);
    let line = format!("{} --volume_initialization_rate 200", case.one());
    let plan = case.world.aaws_via(&server, format!("{line} --dry_run")).run().ok().json();
    assert!(plan[0]["message"].as_str().is_some_and(|m| m.contains("200 MiB/s")), "{plan}");
    case.world.aaws_via(&server, line).run().ok();
    assert_eq!(server.requests("CreateVolume")[0].parameter("VolumeInitializationRate").as_deref(), Some("200"));
    // Without one it is said that reads are slow.
    let other = case.world.volume(&[]);
    let line = format!("ec2 encrypt_volume --volume_id {other} --kms_key_id {} --dry_run", case.key);
    let plan = case.world.aaws(line).run().ok().json();
    assert!(plan[0]["message"].as_str().is_some_and(|m| m.contains("slow")), "{plan}");
}

#[test]
fn who_would_stop_an_instance_is_asked_and_nobody_else() {
    let case = Case::new();
    for (line, item) in [(case.one(), &case.data), (case.all(), &case.machine.id)] {
        let server = case.world.proxy().start();
        let shown = case.world.aaws_via(&server, line).on_terminal("n").exits(4);
        assert!(shown.stdout.contains("stop the instance") && shown.stdout.contains(item), "{shown}");
        assert_eq!(writes(&server), [""; 0]);
    }
    case.is_undone();
    let free = case.world.volume(&[]);
    let line = format!("ec2 encrypt_volume --volume_id {free} --kms_key_id {}", case.key);
    case.world.aaws(line).on_terminal("n").ok();
    assert!(case.world.tags(&free).iter().any(|(key, _)| key == "aaws:encrypted-copy"), "it was not asked, and it was done");
}

#[test]
fn an_original_that_cannot_be_tagged_undoes_nothing() {
    let case = Case::new();
    let server = case.world.proxy().refuse("CreateTags", 403, "UnauthorizedOperation").start();
    case.world.aaws_via(&server, case.one()).run().ok().logs("with the id of its copy");
    case.is_swapped();
}

#[test]
fn volumes_that_are_encrypted_already_are_done_again_only_when_that_is_meant() {
    let case = Case::new();
    let done = case.world.volume(&[("Encrypted", "true")]);
    case.world.attach(&done, &case.machine.id, "/dev/sdg");
    case.world.aaws(case.all()).run().ok();
    let after: Vec<_> = case.world.attached(&case.machine.id).into_iter().map(|(_, volume, _)| volume).collect();
    assert!(after.contains(&done));
    assert_eq!(case.world.aaws(format!("{} --re_encrypt", case.all())).run().ok().json(), json!(case.machine.id));
    let again: Vec<_> = case.world.attached(&case.machine.id).into_iter().map(|(_, volume, _)| volume).collect();
    // Only the one with another key: the copies have this one already.
    let kept = after.iter().filter(|volume| **volume != done).all(|volume| again.contains(volume));
    assert!(again.len() == 3 && kept && !again.contains(&done), "{after:?} {again:?}");
    assert!(again.iter().all(|volume| case.world.describe_volume(volume).contains(&case.key)));
}

#[test]
fn states_that_take_their_time_are_waited_for() {
    let world = World::new();
    let machine = world.instance(&[]);
    let slow = |from: &'static str, to: &'static str| move |n: usize, xml: String| if n < 4 { xml.replace(from, to) } else { xml };
    let server = world
        .proxy()
        .rewrite("DescribeSnapshots", slow("<status>completed", "<status>pending"))
        .rewrite("DescribeInstances", |n, xml| if n == 2 { xml.replace("<name>stopped", "<name>stopping") } else { xml })
        .start();
    let line = format!("ec2 encrypt_volume --volume_id {} --kms_key_id {}", machine.root, world.key());
    world.aaws_via(&server, line).run().ok();
    // Four to see it complete, and one for others with the same mark.
    assert_eq!(server.count("DescribeSnapshots"), 5);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
}

#[test]
fn each_state_that_takes_its_time_is_waited_for() {
    let case = Case::new();
    // Each is shown once as it is on its way.
    let server = case
        .world
        .proxy()
        .rewrite("DescribeInstances", |n, xml| match n {
            2 => xml.replace("<name>stopped", "<name>stopping"),
            5 => xml.replace("<name>running", "<name>pending"),
            _ => xml,
        })
        .rewrite("DescribeSnapshots", |n, xml| if n == 1 { xml.replace("<status>completed", "<status>pending") } else { xml })
        .rewrite("DescribeVolumes", |n, xml| match n {
            2 => xml.replace("<status>available", "<status>creating"),
            4 => xml.replace("<status>available", "<status>in-use"),
            6 => xml.replace("<status>attached", "<status>attaching"),
            _ => xml,
        })
        .start();
    case.world.aaws_via(&server, case.one()).run().ok();
    case.is_swapped();
    let operations = server.operations();
    // Between two steps there are two looks.
    for (step, look) in [
        ("StopInstances", "DescribeInstances"),
        ("CreateSnapshot", "DescribeSnapshots"),
        ("CreateVolume", "DescribeVolumes"),
        ("DetachVolume", "DescribeVolumes"),
        ("AttachVolume", "DescribeVolumes"),
        ("StartInstances", "DescribeInstances"),
    ] {
        let at = operations.iter().position(|o| o == step).unwrap_or_default();
        assert_eq!(operations.get(at + 1..at + 3), Some(&[look.to_owned(), look.to_owned()][..]), "after {step}: {operations:?}");
    }
}

// --- What is left when something fails ---

#[test]
fn a_copy_that_ends_in_an_error_is_taken_back() {
    let world = World::new();
    let machine = world.instance(&[]);
    let before = world.attached(&machine.id);
    // The key may not be used: the new volume never becomes available.
    let root = machine.root.clone();
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", move |_, xml| {
            let of_volume =
                |part: &str| if part.starts_with(&root) { part.to_owned() } else { part.replace("<status>available", "<status>error") };
            xml.split("<volumeId>").map(of_volume).collect::<Vec<_>>().join("<volumeId>")
        })
        .start();
    let folder = directory();
    let line = format!("ec2 encrypt_volume --volume_id {} --kms_key_id {} --report report.jsonl", machine.root, world.key());
    world.aaws_via(&server, line).within(folder.path()).run().exits(3).logs("key");
    assert_eq!(world.attached(&machine.id), before);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!((world.volumes(), world.snapshots()), (vec![machine.root], vec![]));
    assert!(report(&folder)[0]["message"].as_str().is_some_and(|m| m.contains("undone")));
}

#[test]
fn a_copy_that_disappears_is_taken_back() {
    let case = Case::new();
    // The key may not be used: the new volume is shown no more.
    let server = case
        .world
        .proxy()
        .rewrite("DescribeVolumes", |_, xml| {
            if xml.contains("<encrypted>true") { "<DescribeVolumesResponse><volumeSet/></DescribeVolumesResponse>".to_owned() } else { xml }
        })
        .start();
    case.world.aaws_via(&server, case.one()).run().exits(3).logs("disappeared").logs("undone");
    case.is_undone();
    assert_eq!(server.count("DetachVolume"), 0, "nothing is swapped before the copies are there");
}

#[test]
fn a_wait_that_is_interrupted_is_undone() {
    let world = World::new();
    let machine = world.instance(&[]);
    let before = world.attached(&machine.id);
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| xml.replace("<status>completed", "<status>pending")).start();
    let line = format!("ec2 encrypt_volume --volume_id {} --kms_key_id {}", machine.root, world.key());
    let running = world.aaws_via(&server, &line).start();
    server.wait_for("DescribeSnapshots", 1);
    running.signal("INT");
    running.wait().exits(130).logs("undone");
    assert_eq!(world.attached(&machine.id), before);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!((world.volumes(), world.snapshots()), (vec![machine.root.clone()], vec![]));
    // So is one that has no more time.
    world.aaws_via(&server, format!("{line} --timeout 8s")).run().exits(1).logs("undone");
    assert_eq!(world.snapshots(), [""; 0]);
}

#[test]
fn a_start_that_ec2_takes_back_is_undone() {
    let case = Case::new();
    let reason = "<stateReason><code>Client.InternalError</code><message>the key may not be used</message></stateReason>";
    let server = case
        .world
        .proxy()
        .rewrite("DescribeInstances", move |n, xml| {
            let stopped = || xml.replace("<name>running", "<name>stopped").replace("<stateReason><code/><message/></stateReason>", reason);
            // The looks that wait for it, and those that make sure.
            if (4..=8).contains(&n) { stopped() } else { xml }
        })
        .start();
    let folder = directory();
    let line = format!("{} --report report.jsonl", case.one());
    case.world.aaws_via(&server, line).within(folder.path()).run().exits(3).logs("the key may not be used");
    case.is_undone();
    let message = report(&folder)[0]["message"].as_str().unwrap_or_default().to_owned();
    for undone in [format!("undone: start {}", case.machine.id), format!("undone: stop {}", case.machine.id)] {
        assert!(message.contains(&undone), "no {undone:?} in {message}");
    }
}

#[test]
fn what_cannot_be_undone_is_named() {
    let case = Case::new();
    let server = case.world.proxy().refuse("AttachVolume", 403, "UnauthorizedOperation").start();
    let folder = directory();
    let line = format!("{} --report report.jsonl", case.one());
    let output = case.world.aaws_via(&server, line).within(folder.path()).run().exits(3).logs("could not undo").logs("not started again");
    assert_eq!(output.json(), json!(null));
    let message = report(&folder)[0]["message"].as_str().unwrap_or_default().to_owned();
    for part in [case.data.as_str(), "/dev/sdf", case.machine.id.as_str()] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    // An instance is not started without its volumes, and the original is untouched.
    assert_eq!(case.world.instance_state(&case.machine.id).as_deref(), Some("stopped"));
    assert_eq!(case.world.volume_state(&case.data).as_deref(), Some("available"));
    assert_eq!((case.world.snapshots().len(), case.world.volumes().len()), (0, 2), "what could be undone was");
}

#[test]
fn a_snapshot_that_cannot_be_deleted_is_named_and_undoes_nothing() {
    let case = Case::new();
    let server = case.world.proxy().refuse("DeleteSnapshot", 403, "UnauthorizedOperation").start();
    let output = case.world.aaws_via(&server, case.one()).run().ok();
    assert_eq!(output.json(), json!(case.at_device()));
    let left = case.world.snapshots();
    assert!(left.len() == 1 && output.stderr.contains(&left[0]), "{output}");
}

#[test]
fn an_answer_that_is_lost_for_good_leaves_the_instance_whole() {
    for operation in
        ["StopInstances", "CreateSnapshot", "CreateVolume", "DetachVolume", "AttachVolume", "ModifyInstanceAttribute", "StartInstances"]
    {
        let case = Case::new();
        let mapping = [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")];
        case.world.ec2("ModifyInstanceAttribute", &[("InstanceId", case.machine.id.as_str()), mapping[0], mapping[1]]);
        let case = Case { before: case.world.attached(&case.machine.id), ..case };
        let server = case.world.proxy().answering(operation, |request| proxy::error(request, 400, "IncorrectState")).start();
        let output = case.world.aaws_via(&server, case.one()).run();
        assert!(server.count(operation) > 0, "{operation}");
        // It may go on when it can see that it was done; where it cannot, it undoes all.
        match output.code {
            Some(0) => case.is_swapped(),
            _ => {
                output.exits(3).logs("undone");
                case.is_undone();
            }
        }
        assert!(case.world.attached(&case.machine.id)[1].2, "{operation}: it goes with its instance as before");
    }
}

#[test]
fn requests_that_are_sent_again_are_carried_out_once() {
    for operation in ["StopInstances", "CreateVolume", "StartInstances", "DeleteSnapshot"] {
        let case = Case::new();
        let server = case.world.proxy().losing(operation).start();
        case.world.aaws_via(&server, case.one()).run().ok();
        assert_eq!(server.count(operation), 2, "{operation}");
        case.is_swapped();
        let tokens: Vec<_> = server.requests("CreateVolume").iter().map(|r| r.parameter("ClientToken")).collect();
        assert!(tokens.iter().all(|t| t.is_some() && *t == tokens[0]), "{tokens:?}");
    }
}

#[test]
fn an_answer_that_is_lost_on_the_way_undoes_nothing_and_leaves_no_snapshot() {
    for operation in ["CreateSnapshot", "DetachVolume", "AttachVolume"] {
        let case = Case::new();
        let server = case.world.proxy().losing(operation).start();
        case.world.aaws_via(&server, case.one()).run().ok();
        // There is no client token for snapshots: what was taken is found, and not taken again.
        assert_eq!(server.count(operation), if operation == "CreateSnapshot" { 1 } else { 2 }, "{operation}");
        case.is_swapped();
    }
}

#[test]
fn an_instance_that_ec2_shows_as_it_was_has_started_all_the_same() {
    let case = Case::new();
    let server = case
        .world
        .proxy()
        .rewrite("DescribeInstances", |n, xml| if n == 3 { xml.replace("<name>running", "<name>stopped") } else { xml })
        .start();
    case.world.aaws_via(&server, case.one()).run().ok();
    case.is_swapped();
}

#[test]
fn a_device_that_is_not_free_yet_is_tried_again() {
    let case = Case::new();
    let busy = "<Response><Errors><Error><Code>InvalidParameterValue</Code><Message>Invalid value '/dev/sdf' for unixDevice. Attachment point \
                /dev/sdf is already in use</Message></Error></Errors><RequestID>r</RequestID></Response>";
    let server = case.world.proxy().rule("AttachVolume", move |n, _| (n == 1).then(|| Response::xml(400, busy))).start();
    case.world.aaws_via(&server, case.one()).run().ok();
    case.is_swapped();
    assert_eq!(server.count("AttachVolume"), 2);
}

#[test]
fn a_volume_that_ec2_does_not_attach_after_all_is_not_waited_for_for_ever() {
    let case = Case::new();
    let accepted = "<AttachVolumeResponse><status>attaching</status></AttachVolumeResponse>";
    let server = case.world.proxy().rule("AttachVolume", move |n, _| (n == 1).then(|| Response::xml(200, accepted))).start();
    case.world.aaws_via(&server, case.one()).run().exits(3).logs("did not attach").logs("undone");
    case.is_undone();
}

#[test]
fn nothing_is_taken_from_under_an_instance_that_runs_with_its_copies() {
    // It cannot be seen any more when it has been started, or only much later.
    for blind in [4..=usize::MAX, 4..=5] {
        let case = Case::new();
        let server = case
            .world
            .proxy()
            .rule("DescribeInstances", move |n, request| blind.contains(&n).then(|| proxy::error(request, 403, "UnauthorizedOperation")))
            .start();
        let output = case.world.aaws_via(&server, case.one()).run().exits(3).logs("could not undo");
        assert_eq!(case.world.instance_state(&case.machine.id).as_deref(), Some("running"));
        let copy = case.at_device();
        assert_ne!(copy, case.data, "what it wrote since the start is on the copy alone");
        assert!(output.stderr.contains(&copy), "{output}");
        assert_eq!(case.world.volume_state(&case.data).as_deref(), Some("available"));
        assert_eq!((server.count("DetachVolume"), server.count("StopInstances")), (1, 1));
    }
}

/// Denied from the look that follows the detaching on, and from the one that follows the attaching on.
#[test]
fn a_swap_is_undone_though_volumes_cannot_be_looked_at_any_more() {
    for after in ["DetachVolume", "AttachVolume"] {
        let case = Case::new();
        let mapping = [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")];
        case.world.ec2("ModifyInstanceAttribute", &[("InstanceId", case.machine.id.as_str()), mapping[0], mapping[1]]);
        let case = Case { before: case.world.attached(&case.machine.id), ..case };
        let seen = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&seen);
        let server = case
            .world
            .proxy()
            .rule(after, move |_, _| {
                set.store(true, Ordering::SeqCst);
                None
            })
            .rule("DescribeVolumes", move |_, request| {
                seen.load(Ordering::SeqCst).then(|| proxy::error(request, 403, "UnauthorizedOperation"))
            })
            .start();
        case.world.aaws_via(&server, case.one()).run().exits(3).logs("undone: put");
        case.is_undone();
    }
}

#[test]
fn an_instance_is_started_again_though_it_cannot_be_looked_at_any_more() {
    let case = Case::new();
    let server = case
        .world
        .proxy()
        .rule("DescribeInstances", |n, request| (n >= 2).then(|| proxy::error(request, 403, "UnauthorizedOperation")))
        .start();
    case.world.aaws_via(&server, case.one()).run().exits(3).logs("undone: stop");
    case.is_undone();
}

#[test]
fn an_instance_that_somebody_started_meanwhile_keeps_its_volumes() {
    let case = Case::new();
    case.world.ec2("StopInstances", &[("InstanceId.1", &case.machine.id)]);
    let server = case
        .world
        .proxy()
        .rewrite("DescribeInstances", |n, xml| if n == 2 { xml.replace("<name>stopped", "<name>running") } else { xml })
        .start();
    case.world.aaws_via(&server, case.one()).run().exits(3).logs("somebody else");
    assert_eq!(server.count("DetachVolume"), 0);
    assert_eq!((case.world.snapshots(), case.world.volumes().len()), (vec![], 2), "nothing is left over");
}

#[test]
fn one_original_that_cannot_be_attached_again_empties_no_other_device() {
    let case = Case::new();
    // The second copy cannot be attached, and neither can anything after it.
    let server =
        case.world.proxy().rule("AttachVolume", |n, request| (n > 1).then(|| proxy::error(request, 403, "UnauthorizedOperation"))).start();
    case.world.aaws_via(&server, case.all()).run().exits(3).logs("could not undo");
    let devices = case.world.attached(&case.machine.id);
    assert_eq!(devices.len(), 1, "the device of the first copy is not emptied: {devices:?}");
    assert_eq!(case.world.instance_state(&case.machine.id).as_deref(), Some("stopped"), "not started without a volume");
}

#[test]
fn credentials_that_expire_while_snapshots_are_awaited_end_the_run() {
    let case = Case::new();
    let server = case.world.proxy().refuse("DescribeSnapshots", 400, "RequestExpired").start();
    case.world.aaws_via(&server, case.one()).run().exits(5).logs("undone");
    assert_eq!(case.world.attached(&case.machine.id), case.before);
}
