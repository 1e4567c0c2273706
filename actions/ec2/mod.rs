//! EC2: what its actions share.
//!
//! What has to be there for an example (`given`) is written in this small vocabulary, one thing a line; names in angle brackets stand for the ids
//! that EC2 makes up, and are the ids that the example uses (`i-0123456789abcdef0`), which the tests put in place of the real ones:
//!
//! - `instance i-0123456789abcdef0` is a running instance with a root volume of 8 GiB; behind it may stand `stopped`, `Key=Value` tags, and
//!   `root vol-0123456789abcdef0`, which names its root volume;
//! - `volume vol-0123456789abcdef0` is a detached gp3 volume of 8 GiB; behind it may stand `encrypted`, `Key=Value` tags, and
//!   `on i-0123456789abcdef0`, an instance given before, to whose `/dev/sdf` it is then attached;
//! - `snapshot snap-0123456789abcdef0` is a completed snapshot of a volume of its own; `of vol-…` names a volume given before;
//! - `image ami-0123456789abcdef0` is an available image of an instance of its own; `of i-…` names an instance given before;
//! - `group sg-0123456789abcdef0` is a security group in the default VPC;
//! - `address eipalloc-0123456789abcdef0` is an Elastic IP address that is associated with nothing; behind it may stand `Key=Value` tags, and
//!   `on i-0123456789abcdef0`, an instance given before, with which it is then associated;
//! - `interface eni-0123456789abcdef0` is a network interface in the default VPC that is attached to nothing; `on` and tags as for volumes;
//! - `rule sgr-0123456789abcdef0 of sg-0123456789abcdef0` is a rule of a group given before that admits everyone at the TCP port 22; behind it may stand
//!   `Key=Value` tags;
//! - `region us-east-1` is an enabled region; those that are given are all;
//! - `key KEY` is an enabled customer managed key whose id is KEY; `default-encryption` switches encryption by default on.

mod addresses;
mod coalesce;
mod details;
mod early;
mod group_order;
mod group_rules;
mod group_users;
mod group_uses;
mod ids;
mod images;
mod kms;
mod listing;
mod lookup;
mod made;
mod making;
mod network;
mod once;
mod power;
mod presign;
mod references;
mod related;
mod restart;
mod safety;
mod seen;
mod selecting;
mod snapshots;
mod states;
mod swap;
mod tags;
mod together;
mod volumes;
mod wait;

pub mod copy_snapshots;
pub mod create_images;
pub mod create_snapshots;
pub mod delete_images;
pub mod delete_instances;
pub mod delete_interfaces;
pub mod delete_security_groups;
pub mod delete_snapshots;
pub mod delete_volumes;
pub mod discover_active_regions;
pub mod discover_addresses;
pub mod discover_default_ebs_encryption;
pub mod discover_images;
pub mod discover_instances;
pub mod discover_interfaces;
pub mod discover_no_ssm_instances;
pub mod discover_open_security_groups;
pub mod discover_snapshots;
pub mod discover_tags;
pub mod discover_unused_security_groups;
pub mod discover_volumes;
pub mod encrypt_instance_volumes;
pub mod encrypt_volume;
pub mod modify_default_ebs_encryption;
pub mod modify_metadata_options;
pub mod modify_tags;
pub mod modify_volumes;
pub mod release_addresses;
pub mod revoke_security_group_rules;
pub mod share_snapshots;
pub mod start_instances;
pub mod stop_instances;

pub use copy_snapshots::CopySnapshots;
pub use create_images::CreateImages;
pub use create_snapshots::CreateSnapshots;
pub use delete_images::DeleteImages;
pub use delete_instances::DeleteInstances;
pub use delete_interfaces::DeleteInterfaces;
pub use delete_security_groups::DeleteSecurityGroups;
pub use delete_snapshots::DeleteSnapshots;
pub use delete_volumes::DeleteVolumes;
pub use details::{ImageDetails, InstanceDetails, SnapshotDetails, TaggedDetails, VolumeDetails};
pub use discover_active_regions::DiscoverActiveRegions;
pub use discover_addresses::DiscoverAddresses;
pub use discover_default_ebs_encryption::DiscoverDefaultEbsEncryption;
pub use discover_images::DiscoverImages;
pub use discover_instances::DiscoverInstances;
pub use discover_interfaces::DiscoverInterfaces;
pub use discover_no_ssm_instances::DiscoverNoSsmInstances;
pub use discover_open_security_groups::DiscoverOpenSecurityGroups;
pub use discover_snapshots::DiscoverSnapshots;
pub use discover_tags::DiscoverTags;
pub use discover_unused_security_groups::DiscoverUnusedSecurityGroups;
pub use discover_volumes::DiscoverVolumes;
pub use encrypt_instance_volumes::EncryptInstanceVolumes;
pub use encrypt_volume::EncryptVolume;
pub use modify_default_ebs_encryption::ModifyDefaultEbsEncryption;
pub use modify_metadata_options::ModifyMetadataOptions;
pub use modify_tags::ModifyTags;
pub use modify_volumes::ModifyVolumes;
pub use release_addresses::ReleaseAddresses;
pub use revoke_security_group_rules::RevokeSecurityGroupRules;
pub use seen::WithState;
pub use share_snapshots::ShareSnapshots;
pub use start_instances::StartInstances;
pub use stop_instances::StopInstances;
pub use tags::Wanted;
