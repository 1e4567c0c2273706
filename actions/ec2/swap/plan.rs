//! What would happen, in words: for the plan, and for the person asked.

use super::super::lookup::Resource;
use super::Job;

/// What would become of a job.
pub fn words(job: &Job, initialization_rate: Option<i32>) -> String {
    let volumes: Vec<_> = job.originals.iter().map(|o| o.volume.id()).collect();
    let mut text = format!("an encrypted copy would take the place of {}, which would be kept", volumes.join(", "));
    match &job.host {
        Some(host) if host.ran => text += &format!("; the instance {} would be stopped, and started again", host.id),
        Some(host) => text += &format!("; the instance {} is stopped, and would stay so", host.id),
        None => {}
    }
    text += &match initialization_rate {
        Some(rate) => format!("; the copy would be loaded from its snapshot at {rate} MiB/s"),
        None => "; reads of the copy would be slow until it is loaded from its snapshot".to_owned(),
    };
    job.warnings.iter().for_each(|w| text += &format!("; {w}"));
    text
}
