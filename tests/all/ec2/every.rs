//! What holds for every action of EC2: an empty list is nothing, a denial is told, a dry run writes nothing, one bad id sinks no other, and all pages
//! are read.

use serde_json::{Value, json};

use crate::support::ec2::{World, writes};
use crate::support::http::Request;
use crate::support::{Response, directory, report};

/// A world with one of everything, and its ids by the names that lines below use.
struct Full {
    world: World,
    names: Vec<(&'static str, String)>,
}

impl Full {
    fn new() -> Self {
        let world = World::new();
        let machine = world.instance(&[]);
        let stopped = world.instance(&[]);
        world.stop(&stopped.id);
        let volume = world.volume(&[]);
        let group = world.group("spare");
        let names = vec![
            ("I", machine.id.clone()),
            ("V", volume.clone()),
            ("S", world.snapshot(&volume)),
            ("A", world.image(&machine.id)),
            ("R", world.rule(&group, "22", "0.0.0.0/0")),
            ("G", group),
            ("K", world.key()),
            ("E", world.address()),
            ("N", world.interface(&[])),
            ("O", stopped.id),
        ];
        Full { world, names }
    }

    /// A line with the ids in place of `{V}` and its like.
    fn line(&self, line: &str) -> String {
        self.names.iter().fold(format!("ec2 {line}"), |line, (name, id)| line.replace(&format!("{{{name}}}"), id))
    }
}

/// A line for each action, the operation that it cannot do without, and whether it changes something.
const ACTIONS: &[(&str, &str, bool)] = &[
    ("copy_snapshots --snapshot_ids {S} --target_region us-west-2", "CopySnapshot", true),
    ("create_images --instance_ids {I}", "CreateImage", true),
    ("create_snapshots --volume_ids {V}", "CreateSnapshot", true),
    ("delete_images --image_ids {A}", "DeregisterImage", true),
    ("delete_instances --instance_ids {I}", "TerminateInstances", true),
    ("delete_interfaces --network_interface_ids {N}", "DeleteNetworkInterface", true),
    ("delete_security_groups --security_group_ids {G}", "DeleteSecurityGroup", true),
    ("delete_snapshots --snapshot_ids {S}", "DeleteSnapshot", true),
    ("delete_volumes --volume_ids {V}", "DeleteVolume", true),
    ("discover_active_regions", "DescribeRegions", false),
    ("discover_addresses", "DescribeAddresses", false),
    ("discover_default_ebs_encryption", "GetEbsEncryptionByDefault", false),
    ("discover_images", "DescribeImages", false),
    ("discover_instances", "DescribeInstances", false),
    ("discover_interfaces", "DescribeNetworkInterfaces", false),
    ("discover_no_ssm_instances", "DescribeInstanceInformation", false),
    ("discover_open_security_groups", "DescribeSecurityGroupRules", false),
    ("discover_snapshots", "DescribeSnapshots", false),
    ("discover_tags --resource_types volume --tags Env --missing", "DescribeVolumes", false),
    ("discover_unused_security_groups", "DescribeSecurityGroups", false),
    ("discover_volumes", "DescribeVolumes", false),
    ("encrypt_instance_volumes --instance_id {I} --kms_key_id {K}", "CreateSnapshot", true),
    ("encrypt_volume --volume_id {V} --kms_key_id {K}", "CreateVolume", true),
    ("modify_default_ebs_encryption --enable", "EnableEbsEncryptionByDefault", true),
    ("modify_metadata_options --instance_ids {I}", "ModifyInstanceMetadataOptions", true),
    ("modify_tags --resource_ids {V} --tags Env=prod --create", "CreateTags", true),
    ("modify_volumes --volume_ids {V} --size 9", "ModifyVolume", true),
    ("release_addresses --allocation_ids {E}", "ReleaseAddress", true),
    ("revoke_security_group_rules --security_group_rule_ids {R}", "RevokeSecurityGroupIngress", true),
    ("share_snapshots --snapshot_ids {S} --target_account 111122223333", "ModifySnapshotAttribute", true),
    ("start_instances --instance_ids {O}", "StartInstances", true),
    ("stop_instances --instance_ids {I}", "StopInstances", true),
];

#[test]
fn no_action_is_left_out() {
    let tested: Vec<_> = ACTIONS.iter().map(|(line, ..)| line.split(' ').next().expect("an action")).collect();
    let all: Vec<_> = ::aaws::catalog::registry::of_service("ec2").map(|e| e.meta.name()).collect();
    assert_eq!(tested, all);
}

#[test]
fn each_does_what_it_is_asked() {
    for (line, operation, _) in ACTIONS {
        let full = Full::new();
        let server = full.world.proxy().start();
        full.world.aaws_via(&server, full.line(line)).run().ok();
        assert!(server.count(operation) > 0, "{line}: no {operation}");
    }
}

#[test]
fn a_denial_is_told_with_awss_own_code() {
    for (line, operation, changes) in ACTIONS {
        let full = Full::new();
        let server = full.world.proxy().refuse(operation, 403, "UnauthorizedOperation").start();
        let output = full.world.aaws_via(&server, full.line(line)).run();
        // Looking fails as a whole, changing fails for the item.
        assert_eq!(output.code, Some(if *changes { 3 } else { 1 }), "{output}");
        assert!(output.stderr.contains("UnauthorizedOperation"), "{output}");
        if !output.stdout.is_empty() {
            output.json();
        }
    }
}

#[test]
fn a_dry_run_writes_nothing_and_lists_what_would_change() {
    for (line, ..) in ACTIONS.iter().filter(|(_, _, changes)| *changes) {
        let full = Full::new();
        let server = full.world.proxy().start();
        let output = full.world.aaws_via(&server, format!("{} --dry_run", full.line(line))).run().ok();
        assert_eq!(writes(&server), [""; 0], "{output}");
        let plan = output.json();
        assert_eq!(plan[0]["status"], "planned", "{output}");
        assert!(plan[0]["message"].as_str().is_some_and(|m| !m.is_empty()), "{output}");
    }
}

#[test]
fn an_empty_list_is_nothing() {
    // What they print for nothing, and the other inputs that they need.
    let lists = [
        ("copy_snapshots", "snapshot_ids", r#""target_region": "us-west-2""#),
        ("create_images", "instance_ids", ""),
        ("create_snapshots", "volume_ids", ""),
        ("delete_images", "image_ids", r#""include_snapshots": true"#),
        ("delete_interfaces", "network_interface_ids", ""),
        ("delete_security_groups", "security_group_ids", ""),
        ("delete_snapshots", "snapshot_ids", ""),
        ("delete_volumes", "volume_ids", r#""snapshot": true"#),
        ("discover_addresses", "allocation_ids", ""),
        ("discover_addresses", "allocation_ids", r#""unassociated": true"#),
        ("discover_addresses", "tags", r#""details": true"#),
        ("discover_images", "image_ids", ""),
        ("discover_instances", "instance_ids", ""),
        ("discover_instances", "instance_ids", r#""invert": true"#),
        ("discover_instances", "states", ""),
        ("discover_interfaces", "network_interface_ids", ""),
        ("discover_interfaces", "network_interface_ids", r#""detached": true"#),
        ("discover_interfaces", "tags", r#""details": true"#),
        ("discover_no_ssm_instances", "instance_ids", ""),
        ("discover_open_security_groups", "security_group_ids", ""),
        ("discover_open_security_groups", "ports", r#""details": true"#),
        ("discover_open_security_groups", "protocols", ""),
        ("discover_snapshots", "snapshot_ids", ""),
        ("discover_snapshots", "volume_ids", ""),
        ("discover_tags", "resource_types", r#""tags": ["Env"], "missing": true"#),
        ("discover_volumes", "instance_ids", ""),
        ("discover_volumes", "instance_ids", r#""root": true"#),
        ("discover_volumes", "volume_ids", ""),
        ("discover_volumes", "types", ""),
        ("modify_metadata_options", "instance_ids", ""),
        ("modify_tags", "resource_ids", r#""tags": ["Env"], "delete": true"#),
        ("modify_volumes", "volume_ids", r#""size": 100"#),
        ("release_addresses", "allocation_ids", ""),
        ("revoke_security_group_rules", "security_group_rule_ids", ""),
        ("share_snapshots", "snapshot_ids", r#""target_account": "111122223333""#),
        ("start_instances", "instance_ids", ""),
        ("stop_instances", "instance_ids", r#""force": true"#),
    ];
    let full = Full::new();
    for (action, list, more) in lists {
        let server = full.world.proxy().start();
        let input = format!(r#"{{"{list}": []{}{more}}}"#, if more.is_empty() { "" } else { ", " });
        let output = full.world.aaws_via(&server, format!("ec2 {action} --input")).arg(input).run().ok();
        assert_eq!(output.json(), json!([]), "{output}");
        assert_eq!(writes(&server), [""; 0], "{output}");
    }
    let output = full.world.aaws("ec2 delete_instances --instance_ids --include volume image snapshot").run().ok();
    assert_eq!(output.json(), json!({"Instances": [], "Volumes": [], "Images": [], "Snapshots": []}));
}

#[test]
fn one_id_that_does_not_exist_sinks_no_other() {
    let cases = [
        ("discover_addresses --allocation_ids eipalloc-0000000000000bad {E}", 3, "{E}"),
        ("discover_interfaces --network_interface_ids eni-0000000000000bad not-an-id {N}", 3, "{N}"),
        ("discover_images --image_ids ami-0000000000000bad {A}", 3, "{A}"),
        ("discover_instances --instance_ids i-0000000000000bad {I}", 3, "{I}"),
        ("discover_no_ssm_instances --instance_ids i-0000000000000bad {I}", 3, "{I}"),
        ("discover_open_security_groups --security_group_ids sg-0000000000000bad {G}", 3, "{R}"),
        ("discover_snapshots --snapshot_ids snap-0000000000000bad {S}", 3, "{S}"),
        ("discover_volumes --volume_ids vol-0000000000000bad {V}", 3, "{V}"),
        ("discover_volumes --volume_ids not-an-id {V}", 3, "{V}"),
        ("share_snapshots --snapshot_ids snap-0000000000000bad {S} --target_account 111122223333", 3, "{S}"),
        ("modify_volumes --volume_ids vol-0000000000000bad {V} --size 10", 3, "{V}"),
        ("modify_tags --resource_ids {V} vol-0000000000000bad {I} --tags Env=prod --create", 3, "vol-0000000000000bad"),
        ("modify_metadata_options --instance_ids i-0000000000000bad {I}", 3, "{I}"),
        ("start_instances --instance_ids i-0000000000000bad {O}", 3, "{O}"),
        ("stop_instances --instance_ids i-0000000000000bad {I}", 3, "{I}"),
        // A typo and a wrong region must not look like success.
        ("delete_volumes --volume_ids vol-0000000000000bad {V}", 3, "vol-0000000000000bad"),
        ("delete_snapshots --snapshot_ids snap-0000000000000bad", 3, "snap-0000000000000bad"),
        ("delete_images --image_ids ami-0000000000000bad {A}", 3, "ami-0000000000000bad"),
        ("revoke_security_group_rules --security_group_rule_ids sgr-0000000000000bad {R}", 3, "sgr-0000000000000bad"),
        ("delete_security_groups --security_group_ids sg-0000000000000bad {G}", 3, "sg-0000000000000bad"),
        ("release_addresses --allocation_ids eipalloc-0000000000000bad {E}", 3, "eipalloc-0000000000000bad"),
        ("delete_interfaces --network_interface_ids eni-0000000000000bad {N}", 3, "eni-0000000000000bad"),
    ];
    let full = Full::new();
    for (line, code, printed) in cases {
        let output = full.world.aaws(full.line(line)).run().exits(code);
        let printed: Vec<String> = printed.split_whitespace().map(|p| full.line(p).trim_start_matches("ec2 ").to_owned()).collect();
        assert_eq!(output.json(), json!(printed), "{output}");
        assert!(output.stderr.contains("bad") || output.stderr.contains("not-an-id"), "{output}");
    }
    let full = Full::new();
    for (line, printed) in
        [("create_snapshots --volume_ids vol-0000000000000bad {V}", 1), ("create_images --instance_ids i-0000000000000bad {I}", 1)]
    {
        let output = full.world.aaws(full.line(line)).run().exits(3);
        assert_eq!(output.json().as_array().map(Vec::len), Some(printed), "{output}");
    }
}

#[test]
fn ids_that_do_not_exist_are_unchanged_when_that_is_no_matter() {
    let full = Full::new();
    for (line, printed) in [
        ("delete_volumes --volume_ids vol-0000000000000bad {V}", json!([])),
        ("revoke_security_group_rules --security_group_rule_ids sgr-0000000000000bad {R}", json!([])),
        ("delete_security_groups --security_group_ids sg-0000000000000bad {G}", json!([])),
        ("release_addresses --allocation_ids eipalloc-0000000000000bad {E}", json!([])),
        ("delete_interfaces --network_interface_ids eni-0000000000000bad {N}", json!([])),
        ("modify_volumes --volume_ids vol-0000000000000bad --size 10", json!([])),
        ("modify_tags --resource_ids vol-0000000000000bad {I} --tags Env=prod --create", json!([])),
        ("modify_metadata_options --instance_ids i-0000000000000bad", json!([])),
        ("start_instances --instance_ids i-0000000000000bad", json!([])),
        ("stop_instances --instance_ids i-0000000000000bad", json!([])),
        ("encrypt_volume --volume_id vol-0000000000000bad --kms_key_id {K}", json!(null)),
        ("encrypt_instance_volumes --instance_id i-0000000000000bad --kms_key_id {K}", json!(null)),
    ] {
        let folder = directory();
        let line = format!("{} --ignore_not_found --report report.jsonl", full.line(line));
        let output = full.world.aaws(line).within(folder.path()).run().ok();
        assert_eq!(output.json(), printed, "{output}");
        let lines = report(&folder);
        let bad = lines.iter().find(|l| l["item"].as_str().is_some_and(|id| id.ends_with("bad")));
        assert!(bad.is_some_and(|l| l["status"] == "unchanged"), "{lines:?}");
    }
}

#[test]
fn an_id_that_does_not_exist_has_one_code_whatever_it_is_of() {
    let full = Full::new();
    for line in [
        "delete_volumes --volume_ids vol-0000000000000bad",
        "delete_security_groups --security_group_ids sg-0000000000000bad",
        "release_addresses --allocation_ids eipalloc-0000000000000bad",
        "delete_interfaces --network_interface_ids eni-0000000000000bad",
        "revoke_security_group_rules --security_group_rule_ids sgr-0000000000000bad",
        "modify_volumes --volume_ids vol-0000000000000bad --size 10",
        "modify_tags --resource_ids vol-0000000000000bad --tags Env=prod --create",
        "modify_metadata_options --instance_ids i-0000000000000bad",
        "start_instances --instance_ids i-0000000000000bad",
        "stop_instances --instance_ids i-0000000000000bad",
        "encrypt_volume --volume_id vol-0000000000000bad --kms_key_id {K}",
        "encrypt_instance_volumes --instance_id i-0000000000000bad --kms_key_id {K}",
    ] {
        let folder = directory();
        let server = full.world.proxy().start();
        let line = format!("{} --report report.jsonl", full.line(line));
        full.world.aaws_via(&server, &line).within(folder.path()).run().exits(3);
        let lines = report(&folder);
        assert_eq!((lines.len(), &lines[0]["status"], &lines[0]["code"]), (1, &json!("failed"), &json!("NotFound")), "{line}");
    }
}

#[test]
fn what_could_be_no_id_is_a_mistake_of_the_input_and_nothing_is_sent() {
    let world = World::new();
    let server = world.proxy().start();
    for (action, list, more) in [
        ("delete_volumes", "volume_ids", json!({})),
        ("delete_security_groups", "security_group_ids", json!({})),
        ("release_addresses", "allocation_ids", json!({})),
        ("delete_interfaces", "network_interface_ids", json!({})),
        ("discover_open_security_groups", "security_group_ids", json!({})),
        ("revoke_security_group_rules", "security_group_rule_ids", json!({})),
        ("modify_volumes", "volume_ids", json!({"size": 10})),
        ("modify_tags", "resource_ids", json!({"tags": ["Env=prod"], "create": true})),
        ("modify_metadata_options", "instance_ids", json!({})),
        ("start_instances", "instance_ids", json!({})),
        ("stop_instances", "instance_ids", json!({})),
        ("encrypt_volume", "volume_id", json!({"kms_key_id": "1234abcd"})),
        ("encrypt_instance_volumes", "instance_id", json!({"kms_key_id": "1234abcd"})),
    ] {
        for id in ["", " ", "nonsense", "vol-*", "i-*", "sg-*"] {
            let mut input = more.clone();
            input[list] = if list.ends_with('s') { json!([id]) } else { json!(id) };
            let output = world.aaws_via(&server, format!("ec2 {action} --input")).arg(input.to_string()).run().exits(2).silent();
            assert!(output.stderr.contains(list), "{output}");
        }
    }
    assert_eq!(server.operations(), [""; 0]);
}

/// A listing of two pages, each with one item.
fn paged(full: &Full, line: &str, operation: &'static str, set: &'static str, items: [&'static str; 2]) -> Value {
    let page = move |request: &Request| {
        let second = request.text().contains("NextToken=more");
        let token = if second { "" } else { "<nextToken>more</nextToken>" };
        let item = items[usize::from(second)];
        Response::xml(200, format!("<{operation}Response><{set}>{item}</{set}>{token}</{operation}Response>"))
    };
    let server = full.world.proxy().rule(operation, move |_, request| Some(page(request))).start();
    let output = full.world.aaws_via(&server, format!("ec2 {line}")).run();
    assert_eq!(server.count(operation), 2, "{output}");
    output.json()
}

#[test]
fn every_page_is_read() {
    let full = Full::new();
    let running = "<instanceState><code>16</code><name>running</name></instanceState>";
    let instance = |id: &str| -> &'static str {
        Box::leak(
            format!("<item><reservationId>r-1</reservationId><instancesSet><item><instanceId>{id}</instanceId>{running}</item></instancesSet></item>")
                .into_boxed_str(),
        )
    };
    let cases: &[(&str, &'static str, &'static str, [&'static str; 2])] = &[
        (
            "discover_volumes",
            "DescribeVolumes",
            "volumeSet",
            ["<item><volumeId>x-1</volumeId></item>", "<item><volumeId>x-2</volumeId></item>"],
        ),
        (
            "discover_snapshots",
            "DescribeSnapshots",
            "snapshotSet",
            ["<item><snapshotId>x-1</snapshotId></item>", "<item><snapshotId>x-2</snapshotId></item>"],
        ),
        ("discover_images", "DescribeImages", "imagesSet", ["<item><imageId>x-1</imageId></item>", "<item><imageId>x-2</imageId></item>"]),
        (
            "discover_interfaces",
            "DescribeNetworkInterfaces",
            "networkInterfaceSet",
            ["<item><networkInterfaceId>x-1</networkInterfaceId></item>", "<item><networkInterfaceId>x-2</networkInterfaceId></item>"],
        ),
        ("discover_instances", "DescribeInstances", "reservationSet", [instance("x-1"), instance("x-2")]),
        (
            "discover_open_security_groups",
            "DescribeSecurityGroupRules",
            "securityGroupRuleSet",
            [
                "<item><securityGroupRuleId>x-1</securityGroupRuleId><isEgress>false</isEgress><cidrIpv4>0.0.0.0/0</cidrIpv4></item>",
                "<item><securityGroupRuleId>x-2</securityGroupRuleId><isEgress>false</isEgress><cidrIpv6>::/0</cidrIpv6></item>",
            ],
        ),
        ("discover_no_ssm_instances", "DescribeInstances", "reservationSet", [instance("x-1"), instance("x-2")]),
        (
            "discover_tags --resource_types vpc --tags Env --missing",
            "DescribeVpcs",
            "vpcSet",
            ["<item><vpcId>x-1</vpcId></item>", "<item><vpcId>x-2</vpcId></item>"],
        ),
        (
            "discover_tags --resource_types subnet --tags Env --missing",
            "DescribeSubnets",
            "subnetSet",
            ["<item><subnetId>x-1</subnetId></item>", "<item><subnetId>x-2</subnetId></item>"],
        ),
        (
            "discover_tags --resource_types internet_gateway --tags Env --missing",
            "DescribeInternetGateways",
            "internetGatewaySet",
            ["<item><internetGatewayId>x-1</internetGatewayId></item>", "<item><internetGatewayId>x-2</internetGatewayId></item>"],
        ),
        (
            "discover_tags --resource_types network_acl --tags Env --missing",
            "DescribeNetworkAcls",
            "networkAclSet",
            ["<item><networkAclId>x-1</networkAclId></item>", "<item><networkAclId>x-2</networkAclId></item>"],
        ),
        (
            "discover_tags --resource_types route_table --tags Env --missing",
            "DescribeRouteTables",
            "routeTableSet",
            ["<item><routeTableId>x-1</routeTableId></item>", "<item><routeTableId>x-2</routeTableId></item>"],
        ),
        (
            "discover_unused_security_groups",
            "DescribeSecurityGroups",
            "securityGroupInfo",
            [
                "<item><groupId>x-1</groupId><groupName>a</groupName><vpcId>vpc-1</vpcId></item>",
                "<item><groupId>x-2</groupId><groupName>b</groupName><vpcId>vpc-1</vpcId></item>",
            ],
        ),
    ];
    for (line, operation, set, items) in cases {
        assert_eq!(paged(&full, line, operation, set, *items), json!(["x-1", "x-2"]), "{line}");
    }
    // The tags that resources have are of several pages, too: the second says that the volume is tagged already.
    let tag = |id: &str| {
        format!("<item><resourceId>{id}</resourceId><resourceType>volume</resourceType><key>Env</key><value>prod</value></item>")
    };
    let volume = full.names[1].1.clone();
    let items: [&'static str; 2] = [Box::leak(tag("vol-1").into_boxed_str()), Box::leak(tag(&volume).into_boxed_str())];
    let line = format!("modify_tags --resource_ids {volume} --tags Env=prod --create");
    assert_eq!(paged(&full, &line, "DescribeTags", "tagSet", items), json!([]));
}

#[test]
fn agents_of_several_pages_are_all_heard() {
    let world = World::new();
    let (a, b, c) = (world.instance(&[]).id, world.instance(&[]).id, world.instance(&[]).id);
    let (first, second) = (a.clone(), b.clone());
    let proxy = world.proxy().rule("DescribeInstanceInformation", move |_, request| {
        let page = if request.text().contains("more") {
            json!({"InstanceInformationList": [{"InstanceId": second, "PingStatus": "ConnectionLost", "LastPingDateTime": 1_700_000_000}]})
        } else {
            json!({"InstanceInformationList": [{"InstanceId": first, "PingStatus": "Online"}, {"InstanceId": "mi-0123456789abcdef0", "PingStatus": "ConnectionLost"}], "NextToken": "more"})
        };
        let headers = vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())];
        Some(Response { status: 200, headers, body: page.to_string().into_bytes() })
    });
    let server = proxy.start();
    let output = world.aaws_via(&server, "ec2 discover_no_ssm_instances --details").run().ok();
    let mut found = output.json().as_array().cloned().expect("a list");
    found.sort_by_key(|f| f["Status"].to_string());
    let told = |row: &Value| json!({"InstanceId": row["InstanceId"], "Status": row["Status"], "LastPing": row["LastPing"]});
    assert_eq!(
        found.iter().map(told).collect::<Vec<_>>(),
        [
            json!({"InstanceId": b, "Status": "connection_lost", "LastPing": "2023-11-14T22:13:20Z"}),
            json!({"InstanceId": c, "Status": "never_registered", "LastPing": null}),
        ]
    );
    assert!(server.requests("DescribeInstanceInformation")[0].text().contains("50"), "fifty a page are asked for");
}
