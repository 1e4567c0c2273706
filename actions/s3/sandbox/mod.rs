//! The sandbox: an S3 that runs inside this process, so that actions can be tried without an account or a network.
//!
//! It listens on a real socket of the loopback interface. An action that runs against it takes the same way as against
//! AWS, from the request to its signature to the bytes that come back; only the endpoint and the credentials differ.
//!
//! `store` keeps buckets and objects in files, and `service` puts the S3 API on top of it. S3 operations that the
//! service does not have are answered with `NotImplemented`.

mod service;
mod store;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use aaws::TourStep;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use self::service::Sandbox;
use self::store::{Store, StoreError};

/// The access key that the sandbox takes requests from. It protects nothing: it is there so that requests are signed,
/// and signatures checked, as they are with AWS.
const ACCESS_KEY: &str = "sandbox";

/// The secret key that belongs to [`ACCESS_KEY`].
const SECRET_KEY: &str = "sandbox";

/// The bucket that a new sandbox begins with.
const EXAMPLE_BUCKET: &str = "example-bucket";

inventory::submit! {
    aaws::Sandbox {
        service: "s3",
        serve: |dir| Box::pin(serve(dir, seed())),
        keys: (ACCESS_KEY, SECRET_KEY),
        tour: TOUR,
    }
}

/// What `aaws demo` shows.
const TOUR: &[TourStep] = &[
    TourStep {
        says: "Create three objects",
        pipe: &[&[
            "s3",
            "create_objects",
            "--bucket",
            "example-bucket",
            "--object",
            "logs/2026/a.txt",
            "one",
            "--object",
            "logs/2026/b.txt",
            "two",
            "--object",
            "notes.txt",
            "three",
        ]],
    },
    TourStep {
        says: "What is under logs/2026/",
        pipe: &[&["s3", "discover_objects", "--bucket", "example-bucket", "--prefix", "logs/2026/"]],
    },
    TourStep {
        says: "What deleting it would do",
        pipe: &[
            &["s3", "discover_objects", "--bucket", "example-bucket", "--prefix", "logs/2026/"],
            &["s3", "delete_objects", "--bucket", "example-bucket", "--objects", "-", "--dry_run", "--output", "table"],
        ],
    },
    TourStep {
        says: "Delete it, through a pipe: what failed is printed, and that is nothing",
        pipe: &[
            &["s3", "discover_objects", "--bucket", "example-bucket", "--prefix", "logs/2026/"],
            &["s3", "delete_objects", "--bucket", "example-bucket", "--objects", "-", "--yes"],
        ],
    },
    TourStep { says: "What is left", pipe: &[&["s3", "discover_objects", "--bucket", "example-bucket"]] },
];

/// What a new sandbox holds: the objects that the examples of the S3 actions take for granted.
fn seed() -> Vec<(String, String)> {
    let examples = aaws::catalog::registry::of_service("s3").flat_map(|entry| entry.meta.examples);
    let keys: BTreeSet<&str> = examples.flat_map(|e| e.given.iter().copied()).filter(|given| !given.starts_with("upload ")).collect();
    keys.into_iter().map(|key| (key.to_owned(), format!("This is {key}.\n"))).collect()
}

/// Serves the sandbox that is kept under `dir`, and returns the address that it listens on.
///
/// When `dir` is missing or empty, it becomes a new sandbox: one bucket, [`EXAMPLE_BUCKET`], that holds the objects of
/// `seed`, given as key and text. Several processes may serve the same `dir` at the same time.
///
/// The server needs no stopping: it runs on the current Tokio runtime, and ends with it.
///
/// # Errors
/// When `dir` cannot be read or written, or no port can be listened on.
async fn serve(dir: PathBuf, seed: Vec<(String, String)>) -> io::Result<SocketAddr> {
    let store = Store::new(dir);
    if store.is_new().await.map_err(io::Error::other)? {
        match store.create_bucket(EXAMPLE_BUCKET, seed).await {
            // The bucket is there already when another process began the same sandbox a moment ago.
            Ok(()) | Err(StoreError::BucketExists(_)) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }

    let mut builder = S3ServiceBuilder::new(Sandbox::new(store));
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener, service));
    Ok(address)
}

/// Takes connections for ever, each in a task of its own.
async fn accept(listener: TcpListener, service: S3Service) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely there are too many open files; give the others time to close theirs.
                tracing::warn!("the sandbox could not take a connection: {error}");
                aaws::clock::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are small and come in several writes: without this, each may wait for an acknowledgement. If it
        // cannot be set, the sandbox is slower and no less right.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection to the sandbox ended early: {error}");
            }
        });
    }
}
