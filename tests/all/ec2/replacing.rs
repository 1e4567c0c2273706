//! Replacing volumes by encrypted copies, and changing volumes and settings in place.

use serde_json::json;

use crate::support::ec2::{World, writes};
use crate::support::{Response, directory, report, xml};

/// What a volume is made of, in the words of EC2.
fn made_of(world: &World, volume: &str) -> Vec<String> {
    let said = world.describe_volume(volume);
    ["volumeType", "size", "iops", "throughput", "availabilityZone"].iter().flat_map(|name| xml::texts(&said, name)).collect()
}

// --- Encryption ---

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
    assert_eq!(world.tags(&copy), [("Env".to_owned(), "prod".to_owned())], "tags of AWS cannot be copied");
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
fn what_could_not_be_undone_is_refused_before_anything_is_touched() {
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
fn a_copy_that_ends_in_an_error_is_taken_back() {
    let world = World::new();
    let machine = world.instance(&[]);
    let before = world.attached(&machine.id);
    // The key may not be used: the new volume never becomes available.
    let root = machine.root.clone();
    let server = world
        .proxy()
        .rewrite("DescribeVolumes", move |_, xml| if xml.contains(&root) { xml } else { xml.replace("<status>available", "<status>error") })
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
fn a_wait_that_is_interrupted_is_undone() {
    let world = World::new();
    let machine = world.instance(&[]);
    let before = world.attached(&machine.id);
    let server = world.proxy().rewrite("DescribeSnapshots", |_, xml| xml.replace("<status>completed", "<status>pending")).start();
    let line = format!("ec2 encrypt_volume --volume_id {} --kms_key_id {}", machine.root, world.key());
    let running = world.aaws_via(&server, &line).start();
    while server.count("DescribeSnapshots") == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.signal("INT");
    running.wait().exits(130).logs("undone");
    assert_eq!(world.attached(&machine.id), before);
    assert_eq!(world.instance_state(&machine.id).as_deref(), Some("running"));
    assert_eq!((world.volumes(), world.snapshots()), (vec![machine.root.clone()], vec![]));
    // So is one that has no more time.
    world.aaws_via(&server, format!("{line} --timeout 1s")).run().exits(1).logs("undone");
    assert_eq!(world.snapshots(), [""; 0]);
}

// --- Changing volumes ---

#[test]
fn a_volume_whose_snapshot_fails_is_not_changed() {
    let world = World::new();
    let (a, b) = (world.volume(&[]), world.volume(&[]));
    let server = world.proxy().fail("CreateSnapshot", 1, 400, "SnapshotLimitExceeded").start();
    let line = format!("ec2 modify_volumes --snapshot --size 20 --volume_ids {a} {b} --concurrency 1");
    let output = world.aaws_via(&server, line).run().exits(3).logs("SnapshotLimitExceeded");
    assert_eq!(output.json(), json!([b]));
    assert_eq!((made_of(&world, &a)[1].as_str(), made_of(&world, &b)[1].as_str()), ("8", "20"));
}

#[test]
fn a_volume_that_becomes_gp3_keeps_its_performance() {
    let world = World::new();
    let volume = world.volume(&[("VolumeType", "gp2"), ("Size", "2000")]);
    let server = world.proxy().start();
    world.aaws_via(&server, format!("ec2 modify_volumes --type gp3 --volume_ids {volume}")).run().ok();
    let sent = server.requests("ModifyVolume")[0].text();
    assert!(sent.contains("Iops=6000") && sent.contains("Throughput=250"), "{sent}");
    let line = format!("ec2 modify_volumes --throughput 500 --iops 7000 --volume_ids {volume} --wait");
    world.aaws(&line).run().ok();
    assert!(made_of(&world, &volume).contains(&"500".to_owned()));
    // It is so now, and that is no change.
    let server = world.proxy().start();
    assert_eq!(world.aaws_via(&server, &line).run().ok().json(), json!([]));
    assert_eq!(writes(&server), [""; 0]);
}

#[test]
fn changes_under_way_and_smaller_sizes_fail_before_they_are_asked_for() {
    let world = World::new();
    let volume = world.volume(&[("Size", "20")]);
    let change = format!("<item><volumeId>{volume}</volumeId><modificationState>optimizing</modificationState></item>");
    let answer = format!(
        "<DescribeVolumesModificationsResponse><volumeModificationSet>{change}</volumeModificationSet></DescribeVolumesModificationsResponse>"
    );
    let server = world.proxy().rule("DescribeVolumesModifications", move |_, _| Some(Response::xml(200, answer.clone()))).start();
    world.aaws_via(&server, format!("ec2 modify_volumes --size 30 --volume_ids {volume}")).run().exits(3).logs("optimizing");
    world.aaws_via(&server, format!("ec2 modify_volumes --size 10 --volume_ids {volume}")).run().exits(3).logs("only grow");
    assert_eq!(writes(&server), [""; 0]);
    world.aaws(format!("ec2 modify_volumes --volume_ids {volume}")).run().exits(2).logs("at least one");
}

// --- Encryption by default ---

#[test]
fn the_default_key_is_put_back_when_the_switch_fails() {
    let world = World::new();
    let key = world.key();
    let line = format!("ec2 modify_default_ebs_encryption --enable --change_kms_key --kms_key_id {key}");
    let server = world.proxy().refuse("EnableEbsEncryptionByDefault", 403, "UnauthorizedOperation").start();
    world.aaws_via(&server, &line).run().exits(3).logs("undone");
    let now = world.ec2("GetEbsDefaultKmsKeyId", &[]);
    assert!(!now.contains(&key), "{now}");

    let output = world.aaws(&line).run().ok().json();
    assert_eq!((&output["Before"]["Enabled"], &output["After"]["Enabled"]), (&json!(false), &json!(true)));
    assert!(output["After"]["KmsKeyId"].as_str().is_some_and(|k| k.contains(&key)));
    let seen = world.aaws("ec2 discover_default_ebs_encryption").run().ok().json();
    assert_eq!((&seen["Region"], &seen["Enabled"]), (&json!("us-east-1"), &json!(true)));
    // It is so already; resetting undoes it.
    let server = world.proxy().start();
    world.aaws_via(&server, &line).run().ok();
    assert_eq!(writes(&server), [""; 0]);
    let output = world.aaws("ec2 modify_default_ebs_encryption --disable --reset_kms_key").run().ok().json();
    assert_eq!(output["After"]["Enabled"], json!(false));
    assert_eq!(world.aaws("ec2 discover_default_ebs_encryption").run().ok().json()["KmsKeyId"], json!(null));
}

#[test]
fn wishes_that_contradict_each_other_are_refused() {
    let world = World::new();
    for line in ["", "--enable --disable", "--change_kms_key", "--kms_key_id k", "--change_kms_key --kms_key_id k --reset_kms_key"] {
        world.aaws(format!("ec2 modify_default_ebs_encryption {line}")).run().exits(2).silent();
    }
}
