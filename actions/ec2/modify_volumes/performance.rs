//! What volumes have by their types, and what gp3 has.

use aws_sdk_ec2::types::{Volume, VolumeType};

/// What gp3 has unless more is asked for: IOPS, and MiB/s. EC2 takes these for a volume that becomes gp3, whatever it had (EC2 API reference,
/// ModifyVolume).
pub(super) const GP3_IOPS: i32 = 3_000;
const GP3_THROUGHPUT: i32 = 125;

/// The most that a gp3 volume can have (EC2 API reference, ModifyVolume), and the most for its size and for its IOPS: 500 IOPS a GiB, and a MiB/s for
/// each four IOPS (EBS user guide, "General Purpose SSD volumes").
const GP3_MOST_IOPS: i32 = 80_000;
const GP3_MOST_THROUGHPUT: i32 = 2_000;
const GP3_IOPS_A_GIB: i32 = 500;
const GP3_IOPS_A_MIB: i32 = 4;

/// The IOPS and MiB/s that a volume has; zero is what a type does not promise.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Performance {
    pub iops: i32,
    throughput: i32,
}

impl Performance {
    /// What a volume has by its type, at the size that it will have: that of gp2 grows with it.
    pub fn of(volume: &Volume, size: i32) -> Self {
        let provisioned = volume.iops().unwrap_or_default();
        let (iops, throughput) = match volume.volume_type() {
            // 3 IOPS a GiB, from 100 to 16,000; up to 170 GiB at most 128 MiB/s, above at most 250, to which volumes of less than 334 GiB burst as they
            // burst to 3,000 IOPS, which gp3 has too (EBS user guide, "General Purpose SSD volumes").
            Some(VolumeType::Gp2) => (size.saturating_mul(3).clamp(100, 16_000), if size > 170 { 250 } else { 128 }),
            // 256 KiB an operation, up to 500 MiB/s; above 32,000 IOPS 16 KiB an operation (EBS user guide, "Provisioned IOPS SSD volumes").
            Some(VolumeType::Io1) if provisioned > 32_000 => (provisioned, provisioned / 64),
            Some(VolumeType::Io1) => (provisioned, (provisioned / 4).min(500)),
            // 256 KiB an operation, whatever the IOPS are (as above).
            Some(VolumeType::Io2) => (provisioned, provisioned / 4),
            Some(VolumeType::Gp3) => (provisioned, volume.throughput().unwrap_or_default()),
            _ => (0, 0),
        };
        Performance { iops, throughput }
    }

    /// The IOPS and the throughput to ask for so that a gp3 volume has as much; none where gp3 has that by itself.
    pub fn as_gp3(&self, size: i32, told: Option<i32>) -> (Option<i32>, Option<i32>) {
        let most = GP3_MOST_IOPS.min(size.saturating_mul(GP3_IOPS_A_GIB));
        let iops = Some(self.iops.min(most)).filter(|n| *n > GP3_IOPS);
        let has = told.or(iops).unwrap_or(GP3_IOPS);
        let throughput = self.throughput.min(GP3_MOST_THROUGHPUT).min(has / GP3_IOPS_A_MIB);
        (iops, Some(throughput).filter(|n| *n > GP3_THROUGHPUT))
    }
}
