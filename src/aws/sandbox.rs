//! `--sandbox`: stands in for AWS inside this process. Services bring their own; the engine only knows that there may be one.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use futures::future::BoxFuture;

/// A service's stand-in. Registered with `inventory::submit!`, like actions.
pub struct Sandbox {
    /// `s3`
    pub service: &'static str,
    /// Serves the files under a directory on a loopback port until the process ends.
    pub serve: fn(PathBuf) -> BoxFuture<'static, io::Result<SocketAddr>>,
    /// The access key and secret that it takes.
    pub keys: (&'static str, &'static str),
    /// What `aaws demo` plays, in a scratch folder.
    pub tour: &'static [TourStep],
}

/// A step of the tour.
#[derive(Debug, Clone, Copy)]
pub struct TourStep {
    /// What the step shows.
    pub says: &'static str,
    /// Arguments of each command of a pipe.
    pub pipe: &'static [&'static [&'static str]],
}

inventory::collect!(Sandbox);

/// The stand-in for a service, if it has one.
pub fn find(service: &str) -> Option<&'static Sandbox> {
    inventory::iter::<Sandbox>.into_iter().find(|s| s.service == service)
}

/// The services that have one, ordered.
pub fn services() -> Vec<&'static str> {
    let mut services: Vec<_> = inventory::iter::<Sandbox>.into_iter().map(|s| s.service).collect();
    services.sort_unstable();
    services
}

/// Where a sandbox is kept when no directory is named: `aaws/sandbox` in the user's data directory.
pub fn default_dir() -> Option<PathBuf> {
    Some(directories::BaseDirs::new()?.data_dir().join("aaws").join("sandbox"))
}
