//! A server in front of moto that does for EC2 what moto lacks, and puts right what it does otherwise than AWS.
//!
//! It has no world of its own: what there is, moto knows. Kept here is only what moto forgets: the default key of EBS, which snapshots an image is
//! made of, the keys of snapshots, and the answers that a client token stands for.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::asked::{Answer, Asked, send, service};
use super::rules;
use super::wire::{Form, Node, refusal};
use crate::support::Account;
use crate::support::http::{Request, Response, Server};

/// The key that EBS uses unless another one is made the default.
const KEY_OF_EBS: &str = "alias/aws/ebs";

/// The most images that one DescribeImageReferences takes (EC2 API reference, DescribeImageReferences).
const MOST_REFERRED: usize = 10;

/// Lists that are empty in every world, because moto knows nothing of what they list.
const EMPTY: &[(&str, &str)] = &[
    ("DescribeImageReferences", "imageReferenceSet"),
    ("DescribeLockedSnapshots", "snapshotSet"),
    ("DescribeSecurityGroupReferences", "securityGroupReferenceSet"),
    ("DescribeSecurityGroupVpcAssociations", "securityGroupVpcAssociationSet"),
];

/// Starts a server that mends moto for an account.
pub fn serve(account: &Account) -> Server {
    let mends = Mends { account: account.id.clone(), moto: account.endpoint, state: Mutex::default() };
    Server::start(move |operation, _, request| mends.answer(operation, request))
}

struct Mends {
    account: String,
    moto: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The default key of EBS in a region where one was set.
    default_keys: HashMap<String, String>,
    /// The key of an encrypted snapshot.
    keys: HashMap<String, String>,
    /// What an image is made of: its `blockDeviceMapping`.
    images: HashMap<String, Node>,
    /// The snapshots that moto makes up for images, which are in nobody's way when they are not seen.
    made_up: HashSet<String>,
    /// The answers to requests with a client token, by operation, region and token.
    tokens: HashMap<[String; 3], Node>,
}

impl State {
    /// The images that are made of a snapshot.
    fn made_of(&self, snapshot: &str) -> Vec<&String> {
        self.images.iter().filter(|(_, mapping)| snapshots_of(mapping).contains(&snapshot)).map(|(id, _)| id).collect()
    }
}

impl Mends {
    fn answer(&self, operation: &str, request: Request) -> Response {
        match service(&request).to_owned().as_str() {
            "ec2" => self.ec2(&Asked::new(self.moto, operation, request)).unwrap_or_else(|reply| reply),
            "kms" if operation == "DescribeKey" => describe_key(self.moto, &request),
            // moto has no managed instances.
            "ssm" if operation == "DescribeInstanceInformation" => json_answer(&json!({ "InstanceInformationList": [] })),
            _ => send(self.moto, &request),
        }
    }

    fn ec2(&self, asked: &Asked) -> Result<Response, Response> {
        // What may be done is moto's to say.
        if asked.form.is("DryRun", "true") {
            return asked.pass().map(Response::from);
        }
        let answer = match asked.operation.as_str() {
            "AttachVolume" => rules::attach_volume(asked),
            "CopySnapshot" => self.copy_snapshot(asked),
            "CreateImage" => self.create_image(asked),
            "CreateSnapshot" => self.create_snapshot(asked),
            "CreateTags" => rules::create_tags(asked),
            "CreateVolume" => self.once(asked, || self.create_volume(asked)),
            "DeleteNetworkInterface" => rules::delete_network_interface(asked),
            "DeleteSecurityGroup" => rules::delete_security_group(asked),
            "DeleteSnapshot" => self.delete_snapshot(asked),
            "DeregisterImage" => self.deregister_image(asked),
            "DescribeAddresses" => rules::describe_addresses(asked),
            "DescribeImageReferences" if asked.form.list("ImageId").len() > MOST_REFERRED => {
                Err(refusal("InvalidParameterValue", format!("At most {MOST_REFERRED} images can be specified")))
            }
            "DescribeImages" => self.describe_images(asked),
            "DescribeInstances" => rules::describe_instances(asked),
            "DescribeNetworkInterfaces" => rules::describe_network_interfaces(asked),
            "DescribeRegions" => rules::describe_regions(asked),
            "DescribeSnapshots" => self.describe_snapshots(asked),
            "DescribeVolumes" => rules::describe_volumes(asked),
            "DescribeVolumesModifications" => rules::describe_volumes_modifications(asked),
            "DetachVolume" => rules::detach_volume(asked),
            "GetEbsDefaultKmsKeyId" => Ok(self.default_key_answer(asked)),
            "ModifyEbsDefaultKmsKeyId" => Ok(self.modify_default_key(asked)),
            "ModifyInstanceAttribute" => rules::modify_instance_attribute(asked),
            "ModifyInstanceMetadataOptions" => rules::modify_instance_metadata_options(asked),
            "ModifyVolume" => rules::modify_volume(asked),
            "RegisterImage" => self.register_image(asked),
            "ReleaseAddress" => rules::release_address(asked),
            "ResetEbsDefaultKmsKeyId" => {
                self.state().default_keys.remove(&asked.region);
                Ok(self.default_key_answer(asked))
            }
            "RevokeSecurityGroupEgress" | "RevokeSecurityGroupIngress" => rules::revoke_security_group_rules(asked),
            "RunInstances" => self.once(asked, || rules::run_instances(asked)),
            "StartInstances" => rules::start_instances(asked),
            "StopInstances" => rules::stop_instances(asked),
            "TerminateInstances" => rules::terminate_instances(asked),
            operation => match EMPTY.iter().find(|(name, _)| *name == operation) {
                Some((_, list)) => {
                    let mut answer = Node::answer(operation);
                    answer.put(Node::new(list));
                    Ok(answer)
                }
                None => asked.pass(),
            },
        };
        answer.map(Response::from)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// moto makes a thing anew for each request; AWS makes one for each client token.
    fn once(&self, asked: &Asked, make: impl FnOnce() -> Answer) -> Answer {
        let Some(token) = asked.form.get("ClientToken") else { return make() };
        let token = [asked.operation.clone(), asked.region.clone(), token.to_owned()];
        if let Some(made) = self.state().tokens.get(&token) {
            return Ok(made.clone());
        }
        let made = make()?;
        self.state().tokens.insert(token, made.clone());
        Ok(made)
    }
}

/// Encryption.
impl Mends {
    /// The key that EBS encrypts with when none is given.
    fn default_key(&self, asked: &Asked) -> String {
        let set = self.state().default_keys.get(&asked.region).cloned();
        set.or_else(|| asked.key(KEY_OF_EBS)).unwrap_or_else(|| KEY_OF_EBS.to_owned())
    }

    fn default_key_answer(&self, asked: &Asked) -> Node {
        let key = self.state().default_keys.get(&asked.region).cloned().unwrap_or_else(|| KEY_OF_EBS.to_owned());
        let mut answer = Node::answer(&asked.operation);
        answer.set("kmsKeyId", &key);
        answer
    }

    /// AWS looks at the key only later: a key that does not exist is taken too.
    fn modify_default_key(&self, asked: &Asked) -> Node {
        let given = asked.form.get("KmsKeyId").unwrap_or_default();
        let key = asked.key(given).unwrap_or_else(|| given.to_owned());
        self.state().default_keys.insert(asked.region.clone(), key);
        self.default_key_answer(asked)
    }

    /// Says in a form which key it is for: moto takes an alias for a key, and does not encrypt what nobody gave it a key for.
    fn name_key(&self, asked: &Asked, form: &mut Form) {
        let key = match asked.form.get("KmsKeyId") {
            Some(given) => asked.key(given).unwrap_or_else(|| given.to_owned()),
            None => self.default_key(asked),
        };
        form.set("Encrypted", "true");
        form.set("KmsKeyId", &key);
    }
}

/// Volumes and snapshots.
impl Mends {
    fn create_volume(&self, asked: &Asked) -> Answer {
        let mut form = asked.form.clone();
        let snapshot = match form.get("SnapshotId") {
            Some(id) => self.snapshot(asked, id)?,
            None => None,
        };
        match snapshot.filter(|s| s.is("encrypted", "true")) {
            // A volume has its snapshot's key, unless it is given another.
            Some(snapshot) if form.get("KmsKeyId").is_none() => {
                form.set("Encrypted", "true");
                form.set("KmsKeyId", snapshot.text("kmsKeyId").unwrap_or(KEY_OF_EBS));
            }
            Some(_) => self.name_key(asked, &mut form),
            None if form.is("Encrypted", "true") => self.name_key(asked, &mut form),
            None => {}
        }
        let mut answer = asked.ask(&form)?;
        rules::with_performance(&mut answer);
        Ok(answer)
    }

    /// The snapshot of an id, as this server tells of it.
    fn snapshot(&self, asked: &Asked, id: &str) -> Result<Option<Node>, Response> {
        let found = asked.also("DescribeSnapshots", &[("Filter.1.Name", "snapshot-id"), ("Filter.1.Value.1", id)])?;
        Ok(found.at("snapshotSet/item").into_iter().next().cloned().map(|mut snapshot| {
            self.with_key(&mut snapshot);
            snapshot
        }))
    }

    fn with_key(&self, snapshot: &mut Node) {
        let key = snapshot.text("snapshotId").and_then(|id| self.state().keys.get(id).cloned());
        if let Some(key) = key {
            snapshot.set_if_missing("kmsKeyId", &key);
        }
    }

    /// A snapshot has its volume's key, which moto forgets.
    fn with_key_of(&self, snapshot: &mut Node, volume: &Node) {
        if let (Some(id), Some(key)) = (snapshot.text("snapshotId"), volume.text("kmsKeyId")) {
            self.state().keys.insert(id.to_owned(), key.to_owned());
        }
        self.with_key(snapshot);
    }

    fn create_snapshot(&self, asked: &Asked) -> Answer {
        let mut answer = asked.pass()?;
        if answer.is("encrypted", "true") {
            let volume = asked.volume(answer.text("volumeId").unwrap_or_default())?;
            self.with_key_of(&mut answer, &volume);
        }
        Ok(answer)
    }

    /// moto has no owner `self` for snapshots, and gives everybody's; it takes no notice of whom they have to be shared with, nor of a page for ids.
    fn describe_snapshots(&self, asked: &Asked) -> Answer {
        let mut form = asked.form.clone();
        if form.get("MaxResults").is_some() && !form.list("SnapshotId").is_empty() {
            let message = "The parameter snapshotSet cannot be used with the parameter maxResults";
            return Err(refusal("InvalidParameterCombination", message));
        }
        let accounts = form.list("RestorableBy");
        form.remove("RestorableBy");
        let owners = form.list("Owner");
        if !owners.is_empty() {
            let ids: Vec<_> = owners.into_iter().map(|o| if o == "self" { self.account.clone() } else { o }).collect();
            form.remove("Owner");
            form.filter("owner-id", &ids);
        }
        let mut answer = asked.ask(&form)?;
        let made_up = self.state().made_up.clone();
        answer.retain("snapshotSet", |s| s.text("snapshotId").is_none_or(|id| !made_up.contains(id)));
        if !accounts.is_empty() {
            let ids: Vec<String> = answer.texts("snapshotSet/item/snapshotId").into_iter().map(str::to_owned).collect();
            let mut shared = HashSet::new();
            for id in ids {
                let asks = [("SnapshotId", id.as_str()), ("Attribute", "createVolumePermission")];
                let permissions = asked.also("DescribeSnapshotAttribute", &asks)?;
                let with = ["userId", "group"].map(|member| permissions.texts(&format!("createVolumePermission/item/{member}")));
                if with.iter().flatten().any(|with| accounts.iter().any(|a| a == with)) {
                    shared.insert(id);
                }
            }
            answer.retain("snapshotSet", |s| s.text("snapshotId").is_some_and(|id| shared.contains(id)));
        }
        answer.at_mut("snapshotSet/item").into_iter().for_each(|snapshot| self.with_key(snapshot));
        Ok(answer)
    }

    /// A copy is encrypted when its original is, or when that is asked for, with the default key unless another one is given. moto encrypts it only
    /// when a key is given.
    fn copy_snapshot(&self, asked: &Asked) -> Answer {
        let mut form = asked.form.clone();
        let from = asked.within(form.get("SourceRegion").unwrap_or(&asked.region));
        let original = self.snapshot(&from, form.get("SourceSnapshotId").unwrap_or_default())?;
        if form.is("Encrypted", "true") || original.is_some_and(|o| o.is("encrypted", "true")) {
            self.name_key(asked, &mut form);
        }
        asked.ask(&form)
    }

    fn delete_snapshot(&self, asked: &Asked) -> Answer {
        let id = asked.form.get("SnapshotId").unwrap_or_default();
        if let Some(image) = self.state().made_of(id).first() {
            return Err(refusal("InvalidSnapshot.InUse", format!("The snapshot {id} is currently in use by {image}")));
        }
        asked.pass()
    }
}

/// Images, for which moto makes up one snapshot each, of no volume. They get a snapshot of each volume here, or those that they are registered with.
impl Mends {
    fn create_image(&self, asked: &Asked) -> Answer {
        let name = asked.form.get("Name").unwrap_or_default();
        let named = asked.also("DescribeImages", &[("Owner.1", "self"), ("Filter.1.Name", "name"), ("Filter.1.Value.1", name)])?;
        if let Some(other) = named.text("imagesSet/item/imageId") {
            return Err(refusal("InvalidAMIName.Duplicate", format!("AMI name {name} is already in use by AMI {other}")));
        }
        let instance = asked.form.get("InstanceId").unwrap_or_default().to_owned();
        let volumes = asked.instances(std::slice::from_ref(&instance))?;
        let mut form = asked.form.clone();
        let tags = form.take_tags("snapshot");
        form.remove("BlockDeviceMapping");
        let answer = asked.ask(&form)?;
        let image = answer.text("imageId").unwrap_or_default();

        let without = asked.form.parts("BlockDeviceMapping").into_iter().filter(|m| m.get("NoDevice").is_some());
        let without: Vec<_> = without.filter_map(|m| m.get("DeviceName").map(str::to_owned)).collect();
        let mut mapping = Node::new("blockDeviceMapping");
        for device in volumes.iter().flat_map(|i| i.at("blockDeviceMapping/item")) {
            let (Some(path), Some(volume)) = (device.text("deviceName"), device.text("ebs/volumeId")) else { continue };
            if without.iter().any(|w| w == path) {
                continue;
            }
            let description = format!("Created by CreateImage({instance}) for {image}");
            let mut form = Form::new("CreateSnapshot", &[("VolumeId", volume), ("Description", &description)]);
            form.set_tags("snapshot", &tags);
            let mut snapshot = asked.ask(&form)?;
            self.with_key_of(&mut snapshot, &asked.volume(volume)?);
            mapping.push(mapped(path, &snapshot, device.text("ebs/deleteOnTermination")));
        }
        self.remember(asked, image, mapping)?;
        Ok(answer)
    }

    fn register_image(&self, asked: &Asked) -> Answer {
        let mut form = asked.form.clone();
        let tags = form.take_tags("image");
        let answer = asked.ask(&form)?;
        let image = answer.text("imageId").unwrap_or_default();
        let mut mapping = Node::new("blockDeviceMapping");
        for device in asked.form.parts("BlockDeviceMapping") {
            let (Some(path), Some(snapshot)) = (device.get("DeviceName"), device.get("Ebs.SnapshotId")) else { continue };
            let snapshot = self.snapshot(asked, snapshot)?.ok_or_else(|| refusal("InvalidSnapshot.NotFound", snapshot))?;
            mapping.push(mapped(path, &snapshot, device.get("Ebs.DeleteOnTermination")));
        }
        // Registered with something else than snapshots, it keeps what moto made up.
        if !snapshots_of(&mapping).is_empty() {
            self.remember(asked, image, mapping)?;
        }
        let tags: Vec<_> = tags.iter().map(|t| (t.get("Key").unwrap_or_default(), t.get("Value").unwrap_or_default())).collect();
        rules::tag(asked, image, &tags)?;
        Ok(answer)
    }

    /// What an image is made of, in the place of the snapshot that moto made up for it.
    fn remember(&self, asked: &Asked, image: &str, mapping: Node) -> Result<(), Response> {
        let made = asked.also("DescribeImages", &[("ImageId.1", image)])?;
        let made_up = made.texts("imagesSet/item/blockDeviceMapping/item/ebs/snapshotId");
        let mut state = self.state();
        state.made_up.extend(made_up.into_iter().map(str::to_owned));
        state.images.insert(image.to_owned(), mapping);
        Ok(())
    }

    /// moto shows disabled images to everybody, has no filter on snapshots, and knows no root device type of images.
    fn describe_images(&self, asked: &Asked) -> Answer {
        let mut form = asked.form.clone();
        let behind = form.take_filter("block-device-mapping.snapshot-id");
        let mut answer = asked.ask(&form)?;
        for image in answer.at_mut("imagesSet/item") {
            image.set("rootDeviceType", "ebs");
            let mapping = image.text("imageId").and_then(|id| self.state().images.get(id).cloned());
            mapping.into_iter().for_each(|mapping| image.put(mapping));
        }
        let is_shown = |image: &Node| asked.form.is("IncludeDisabled", "true") || !image.is("imageState", "disabled");
        let is_behind = |image: &Node, snapshots: &[String]| {
            image.texts("blockDeviceMapping/item/ebs/snapshotId").iter().any(|id| snapshots.iter().any(|wanted| wanted == id))
        };
        answer.retain("imagesSet", |image| is_shown(image) && behind.iter().all(|snapshots| is_behind(image, snapshots)));
        Ok(answer)
    }

    fn deregister_image(&self, asked: &Asked) -> Answer {
        let answer = asked.pass()?;
        self.state().images.remove(asked.form.get("ImageId").unwrap_or_default());
        Ok(answer)
    }
}

/// A device of an image.
fn mapped(device: &str, snapshot: &Node, delete_on_termination: Option<&str>) -> Node {
    let mut ebs = Node::new("ebs");
    ebs.set("deleteOnTermination", delete_on_termination.unwrap_or("true"));
    for member in ["snapshotId", "volumeSize", "encrypted", "kmsKeyId"] {
        snapshot.text(member).into_iter().for_each(|value| ebs.set(member, value));
    }
    ebs.set("volumeType", "gp3");
    let mut item = Node::new("item");
    item.set("deviceName", device);
    item.put(ebs);
    item
}

fn snapshots_of(mapping: &Node) -> Vec<&str> {
    mapping.texts("item/ebs/snapshotId")
}

/// moto does not know that the key of EBS is AWS's own, nor what a key is for when it was made without saying it.
fn describe_key(moto: &str, request: &Request) -> Response {
    let reply = send(moto, request);
    let Ok(mut answer) = serde_json::from_slice::<Value>(&reply.body) else { return reply };
    let Some(key) = answer.get_mut("KeyMetadata").and_then(Value::as_object_mut) else { return reply };
    let of_ebs = send(moto, &Request { body: json!({ "KeyId": KEY_OF_EBS }).to_string().into_bytes(), ..request.clone() });
    let of_ebs: Value = serde_json::from_slice(&of_ebs.body).unwrap_or_default();
    if key.get("KeyId") == of_ebs.pointer("/KeyMetadata/KeyId") {
        key.insert("KeyManager".to_owned(), json!("AWS"));
    }
    key.entry("KeyUsage").or_insert_with(|| json!("ENCRYPT_DECRYPT"));
    json_answer(&answer)
}

fn json_answer(body: &Value) -> Response {
    let headers = vec![("Content-Type".to_owned(), "application/x-amz-json-1.1".to_owned())];
    Response { status: 200, headers, body: body.to_string().into_bytes() }
}
