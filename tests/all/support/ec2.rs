//! A world for the actions of EC2: a fresh account on moto, and in front of it a server that mends what moto lacks.
//!
//! `ec2/mends.rs` says what is mended, and why. All that a test sees of the world, it sees as the program does, through that server.

mod asked;
mod mends;
mod rules;
mod wire;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use self::wire::{Form, Node};
use super::aaws::Aaws;
use super::http::{self, Request, Response, Server};
use super::proxy::Proxy;
use super::{Account, moto, xml};

/// An image of Linux that moto has in every account.
const IMAGE: &str = "ami-785db401";

/// How the operations begin that change something.
const WRITES: [&str; 17] = [
    "Attach",
    "Authorize",
    "Copy",
    "Create",
    "Delete",
    "Deregister",
    "Detach",
    "Disable",
    "Enable",
    "Modify",
    "Release",
    "Reset",
    "Revoke",
    "Run",
    "Start",
    "Stop",
    "Terminate",
];

/// The operations in a server's log that change something.
pub fn writes(server: &Server) -> Vec<String> {
    let mut operations = server.operations();
    operations.retain(|name| is_write(name));
    operations
}

/// Whether an operation changes something.
pub fn is_write(operation: &str) -> bool {
    WRITES.iter().any(|start| operation.starts_with(start))
}

/// A fresh account on moto, in us-east-1.
pub struct World {
    pub account: Account,
    /// Mends moto, and remembers what moto forgets.
    mended: Server,
}

/// An instance and its root volume.
pub struct Machine {
    pub id: String,
    pub root: String,
}

impl World {
    pub fn new() -> Self {
        let account = Account::fresh_at(moto::endpoint_by_turns());
        Self { mended: mends::serve(&account), account }
    }

    /// A request to EC2 that must succeed: `world.ec2("DeleteVolume", &[("VolumeId", &id)])`. Values are encoded here.
    #[track_caller]
    pub fn ec2(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let form = Form::new(action, parameters).encode();
        let request = self.request("ec2", &form).with_header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
        let reply = http::send(&self.mended.url, &request).expect("moto answers");
        assert!(reply.status < 300, "{action} {parameters:?}: {} {}", reply.status, reply.text());
        reply.text()
    }

    #[track_caller]
    fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> Node {
        Node::parse(&self.ec2(action, parameters))
    }

    /// Those that match a filter.
    #[track_caller]
    fn find(&self, action: &str, filter: &str, value: &str) -> Node {
        self.ask(action, &[("Filter.1.Name", filter), ("Filter.1.Value.1", value)])
    }

    fn request(&self, service: &str, body: &[u8]) -> Request {
        let scope = format!("{}/20260101/us-east-1/{service}/aws4_request", self.account.access_key);
        Request::new("POST", "/", body)
            .with_header("Authorization", &format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
            .with_header("X-Amz-Date", "20260101T000000Z")
            .with_header("X-Amz-Security-Token", &self.account.token)
    }

    /// Asks for what is not in the parameters, too.
    #[track_caller]
    fn make(&self, action: &str, defaults: &[(&str, &str)], parameters: &[(&str, &str)]) -> Node {
        let mut all = parameters.to_vec();
        all.extend(defaults.iter().filter(|(name, _)| parameters.iter().all(|(given, _)| given != name)));
        self.ask(action, &all)
    }
}

/// Making things.
impl World {
    /// A running instance.
    #[track_caller]
    pub fn instance(&self, parameters: &[(&str, &str)]) -> Machine {
        let defaults = [("ImageId", IMAGE), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        let made = self.make("RunInstances", &defaults, parameters);
        let instance = made.at("instancesSet/item")[0];
        let is_root = |device: &&&Node| device.text("deviceName") == instance.text("rootDeviceName");
        let devices = instance.at("blockDeviceMapping/item");
        let root = devices.iter().find(is_root).and_then(|device| device.text("ebs/volumeId"));
        Machine { id: text(instance, "instanceId"), root: root.unwrap_or_default().to_owned() }
    }

    /// A detached volume: of 8 GiB, unless it is given a size or made from a snapshot, gp3, and in us-east-1a.
    #[track_caller]
    pub fn volume(&self, parameters: &[(&str, &str)]) -> String {
        let from_snapshot = parameters.iter().any(|(name, _)| *name == "SnapshotId");
        let defaults = [("AvailabilityZone", "us-east-1a"), ("VolumeType", "gp3"), ("Size", "8")];
        let defaults = if from_snapshot { &defaults[..2] } else { &defaults[..] };
        text(&self.make("CreateVolume", defaults, parameters), "volumeId")
    }

    #[track_caller]
    pub fn attach(&self, volume: &str, instance: &str, device: &str) {
        self.ec2("AttachVolume", &[("VolumeId", volume), ("InstanceId", instance), ("Device", device)]);
    }

    #[track_caller]
    pub fn stop(&self, instance: &str) {
        self.ec2("StopInstances", &[("InstanceId.1", instance)]);
    }

    /// A complete snapshot.
    #[track_caller]
    pub fn snapshot(&self, volume: &str) -> String {
        text(&self.ask("CreateSnapshot", &[("VolumeId", volume)]), "snapshotId")
    }

    /// An available image, with a snapshot of each of the instance's volumes.
    #[track_caller]
    pub fn image(&self, instance: &str) -> String {
        text(&self.ask("CreateImage", &[("InstanceId", instance), ("Name", &new_name("image"))]), "imageId")
    }

    /// A security group in the default VPC.
    #[track_caller]
    pub fn group(&self, name: &str) -> String {
        text(&self.ask("CreateSecurityGroup", &[("GroupName", name), ("GroupDescription", "of the tests")]), "groupId")
    }

    /// An Elastic IP address that is associated with nothing, by its allocation id.
    #[track_caller]
    pub fn address(&self) -> String {
        text(&self.ask("AllocateAddress", &[("Domain", "vpc")]), "allocationId")
    }

    #[track_caller]
    pub fn associate(&self, address: &str, instance: &str) {
        self.ec2("AssociateAddress", &[("AllocationId", address), ("InstanceId", instance)]);
    }

    /// A network interface in the default VPC that is attached to nothing.
    #[track_caller]
    pub fn interface(&self, parameters: &[(&str, &str)]) -> String {
        let subnet = text(&self.find("DescribeSubnets", "availability-zone", "us-east-1a"), "subnetSet/item/subnetId");
        text(&self.make("CreateNetworkInterface", &[("SubnetId", &subnet)], parameters), "networkInterface/networkInterfaceId")
    }

    /// Attaches an interface beside the instance's first.
    #[track_caller]
    pub fn attach_interface(&self, interface: &str, instance: &str) {
        self.ec2("AttachNetworkInterface", &[("NetworkInterfaceId", interface), ("InstanceId", instance), ("DeviceIndex", "1")]);
    }

    /// A rule of a group that admits a range of IPv4 addresses to a TCP port.
    #[track_caller]
    pub fn rule(&self, group: &str, port: &str, from: &str) -> String {
        let rule = [
            ("GroupId", group),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", port),
            ("IpPermissions.1.ToPort", port),
            ("IpPermissions.1.IpRanges.1.CidrIp", from),
        ];
        text(&self.ask("AuthorizeSecurityGroupIngress", &rule), "securityGroupRuleSet/item/securityGroupRuleId")
    }

    /// The id of an enabled customer managed key.
    #[track_caller]
    pub fn key(&self) -> String {
        let request = self.request("kms", b"{}");
        let request =
            request.with_header("Content-Type", "application/x-amz-json-1.1").with_header("X-Amz-Target", "TrentService.CreateKey");
        let reply = http::send(&self.mended.url, &request).expect("moto answers");
        let made: Value = serde_json::from_slice(&reply.body).expect("KMS answers JSON");
        made["KeyMetadata"]["KeyId"].as_str().unwrap_or_else(|| panic!("no key: {made}")).to_owned()
    }

    /// Another name of a key.
    #[track_caller]
    pub fn alias(&self, name: &str, key: &str) {
        let body = format!(r#"{{"AliasName": "{name}", "TargetKeyId": "{key}"}}"#);
        let request = self.request("kms", body.as_bytes()).with_header("Content-Type", "application/x-amz-json-1.1");
        let reply = http::send(&self.mended.url, &request.with_header("X-Amz-Target", "TrentService.CreateAlias")).expect("moto answers");
        assert!(reply.status < 300, "{name}: {} {}", reply.status, reply.text());
    }

    #[track_caller]
    pub fn tag(&self, id: &str, key: &str, value: &str) {
        self.ec2("CreateTags", &[("ResourceId.1", id), ("Tag.1.Key", key), ("Tag.1.Value", value)]);
    }
}

/// Looking at things.
impl World {
    /// The tags of a thing, sorted.
    #[track_caller]
    pub fn tags(&self, id: &str) -> Vec<(String, String)> {
        let found = self.find("DescribeTags", "resource-id", id);
        let unescaped = |tag: &Node, name: &str| xml::texts(&tag.inner(), name).pop().unwrap_or_default();
        let mut tags: Vec<_> = found.at("tagSet/item").into_iter().map(|tag| (unescaped(tag, "key"), unescaped(tag, "value"))).collect();
        tags.sort();
        tags
    }

    /// The ids of the account's volumes, sorted.
    #[track_caller]
    pub fn volumes(&self) -> Vec<String> {
        sorted(&self.ask("DescribeVolumes", &[]), "volumeSet/item/volumeId")
    }

    /// The ids of the account's own snapshots, sorted.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<String> {
        sorted(&self.ask("DescribeSnapshots", &[("Owner.1", "self")]), "snapshotSet/item/snapshotId")
    }

    /// The ids of the account's own images, sorted; disabled ones are among them.
    #[track_caller]
    pub fn images(&self) -> Vec<String> {
        sorted(&self.ask("DescribeImages", &[("Owner.1", "self"), ("IncludeDisabled", "true")]), "imagesSet/item/imageId")
    }

    /// The ids of the account's security groups, sorted, but for the default one.
    #[track_caller]
    pub fn groups(&self) -> Vec<String> {
        let mut found = self.ask("DescribeSecurityGroups", &[]);
        found.retain("securityGroupInfo", |group| !group.is("groupName", "default"));
        sorted(&found, "securityGroupInfo/item/groupId")
    }

    /// The allocation ids of the account's Elastic IP addresses, sorted.
    #[track_caller]
    pub fn addresses(&self) -> Vec<String> {
        sorted(&self.ask("DescribeAddresses", &[]), "addressesSet/item/allocationId")
    }

    /// The ids of the account's network interfaces, sorted.
    #[track_caller]
    pub fn interfaces(&self) -> Vec<String> {
        sorted(&self.ask("DescribeNetworkInterfaces", &[]), "networkInterfaceSet/item/networkInterfaceId")
    }

    /// The ids of a group's rules, inbound and outbound, sorted.
    #[track_caller]
    pub fn rules(&self, group: &str) -> Vec<String> {
        sorted(&self.find("DescribeSecurityGroupRules", "group-id", group), "securityGroupRuleSet/item/securityGroupRuleId")
    }

    /// What is said of a group's rules but for their ids, which are new when they are put back: the inner XML of their items, sorted.
    #[track_caller]
    pub fn describe_rules(&self, group: &str) -> Vec<String> {
        let mut found = self.find("DescribeSecurityGroupRules", "group-id", group);
        let rules = found.at_mut("securityGroupRuleSet/item").into_iter();
        let mut told: Vec<_> = rules
            .map(|rule| {
                rule.remove("securityGroupRuleId");
                rule.inner()
            })
            .collect();
        told.sort();
        told
    }

    /// `available`, `in-use` and so on; `None` for a volume that is gone.
    #[track_caller]
    pub fn volume_state(&self, id: &str) -> Option<String> {
        self.find("DescribeVolumes", "volume-id", id).text("volumeSet/item/status").map(str::to_owned)
    }

    /// `running`, `stopped`, `terminated` and so on.
    #[track_caller]
    pub fn instance_state(&self, id: &str) -> Option<String> {
        let found = self.find("DescribeInstances", "instance-id", id);
        found.text("reservationSet/item/instancesSet/item/instanceState/name").map(str::to_owned)
    }

    /// Device, volume, and whether it is deleted with the instance, of each of its volumes, sorted.
    #[track_caller]
    pub fn attached(&self, instance: &str) -> Vec<(String, String, bool)> {
        let found = self.find("DescribeInstances", "instance-id", instance);
        let devices = found.at("reservationSet/item/instancesSet/item/blockDeviceMapping/item").into_iter();
        let device = |d: &Node| (text(d, "deviceName"), text(d, "ebs/volumeId"), d.is("ebs/deleteOnTermination", "true"));
        let mut devices: Vec<_> = devices.map(device).collect();
        devices.sort();
        devices
    }

    /// What is said of a volume: the inner XML of its item.
    #[track_caller]
    pub fn describe_volume(&self, id: &str) -> String {
        let found = self.find("DescribeVolumes", "volume-id", id);
        found.at("volumeSet/item").first().unwrap_or_else(|| panic!("there is no {id}")).inner()
    }
}

/// Running the program.
impl World {
    /// A proxy to the world, to which a test adds its rules.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(&self.mended.url)
    }

    /// `aaws` with the arguments of a line, in this world.
    pub fn aaws(&self, line: impl AsRef<str>) -> Aaws {
        self.aaws_via(&self.mended, line)
    }

    /// The same, through a server that was started in front of the world.
    pub fn aaws_via(&self, server: &Server, line: impl AsRef<str>) -> Aaws {
        self.account.aaws(line).endpoint(&server.url)
    }

    /// A line for the shell, in which `aaws` runs in this world.
    pub fn shell(&self, line: impl AsRef<str>) -> Aaws {
        self.account.shell(line).endpoint(&self.mended.url)
    }
}

/// The worlds of examples.
impl World {
    /// Makes what an example asks for, in the words that `actions/ec2/mod.rs` explains, and gives an endpoint where things have the ids that the
    /// example gives them. What the example's action makes keeps its own ids.
    pub fn given(given: &[&str]) -> (Self, Server) {
        let world = Self::new();
        let mut ids = Ids::default();
        for line in given {
            world.give(line, &mut ids);
        }
        let endpoint = world.mended.url.clone();
        let server = Server::start(move |_, _, mut request| {
            request.target = ids.made(&request.target);
            request.body = ids.made(&request.text()).into_bytes();
            let mut reply = http::send(&endpoint, &request).unwrap_or_else(|_| Response::dropped());
            reply.body = ids.shown(&reply.text()).into_bytes();
            reply
        });
        (world, server)
    }

    fn give(&self, line: &str, ids: &mut Ids) {
        let mut words = line.split(' ');
        let (kind, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (mut flags, mut tags, mut named) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(word) = words.next() {
            match (word, word.split_once('=')) {
                (_, Some(tag)) => tags.push(tag),
                ("root" | "on" | "of", None) => named.push((word, words.next().unwrap_or_else(|| panic!("{word} what? {line}")))),
                _ => flags.push(word),
            }
        }
        assert!(flags.iter().all(|flag| ["stopped", "encrypted"].contains(flag)), "what is {line}?");
        let named = |word: &str| named.iter().find(|(name, _)| *name == word).map(|(_, id)| *id);
        let flag = |word: &str| flags.contains(&word);
        let made = match kind {
            "instance" => {
                let machine = self.instance(&[]);
                if flag("stopped") {
                    self.stop(&machine.id);
                }
                if let Some(root) = named("root") {
                    ids.add(root, &machine.root);
                }
                machine.id
            }
            "volume" => {
                let encrypted: &[(&str, &str)] = if flag("encrypted") { &[("Encrypted", "true")] } else { &[] };
                let made = self.volume(encrypted);
                if let Some(instance) = named("on") {
                    self.attach(&made, &ids.made(instance), "/dev/sdf");
                }
                made
            }
            "snapshot" => self.snapshot(&named("of").map_or_else(|| self.volume(&[]), |volume| ids.made(volume))),
            "image" => self.image(&named("of").map_or_else(|| self.instance(&[]).id, |instance| ids.made(instance))),
            "group" => self.group(&new_name("group")),
            "address" => {
                let made = self.address();
                if let Some(instance) = named("on") {
                    self.associate(&made, &ids.made(instance));
                }
                made
            }
            "interface" => {
                let made = self.interface(&[]);
                if let Some(instance) = named("on") {
                    self.attach_interface(&made, &ids.made(instance));
                }
                made
            }
            "rule" => self.rule(&ids.made(named("of").unwrap_or_else(|| panic!("of which group? {line}"))), "22", "0.0.0.0/0"),
            "key" => self.key(),
            "default-encryption" => {
                self.ec2("EnableEbsEncryptionByDefault", &[]);
                return;
            }
            _ => panic!("what is {line}?"),
        };
        for (key, value) in tags {
            self.tag(&made, key, value);
        }
        ids.add(id, &made);
    }
}

/// The ids of an example, and those that EC2 made up for the same things.
#[derive(Default)]
struct Ids(Vec<(String, String)>);

impl Ids {
    fn add(&mut self, shown: &str, made: &str) {
        self.0.push((shown.to_owned(), made.to_owned()));
    }

    /// A text with the ids that EC2 made up.
    fn made(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, made)| exchange(&text, shown, made))
    }

    /// A text with the ids of the example.
    fn shown(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, made)| exchange(&text, made, shown))
    }
}

/// Puts an id in another's place, but not within a longer one: `ami-1` ends with `i-1`.
fn exchange(text: &str, old: &str, new: &str) -> String {
    let mut pieces = text.split(old);
    let mut exchanged = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let id = if is_within_word(&exchanged) { old } else { new };
        exchanged += id;
        exchanged += piece;
    }
    exchanged
}

/// Whether what comes next goes on with a word. A percent-encoded character is no letter, though it ends with one.
fn is_within_word(before: &str) -> bool {
    let encoded = before.len() >= 3 && before.as_bytes()[before.len() - 3] == b'%';
    !encoded && before.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A text that must be there.
#[track_caller]
fn text(node: &Node, path: &str) -> String {
    node.text(path).unwrap_or_else(|| panic!("no {path} in {node}")).to_owned()
}

fn sorted(node: &Node, path: &str) -> Vec<String> {
    let mut texts: Vec<_> = node.texts(path).into_iter().map(str::to_owned).collect();
    texts.sort();
    texts
}

/// A name that no other thing has.
fn new_name(kind: &str) -> String {
    static MADE: AtomicUsize = AtomicUsize::new(1);
    format!("{kind}-{}", MADE.fetch_add(1, Ordering::Relaxed))
}
