//! A server that speaks TLS, with a certificate of an authority of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::aaws::directory;
use super::moto;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all/support/tls_server.py");

/// Answers every request with one text.
pub struct TlsServer {
    pub url: String,
    folder: TempDir,
    /// Holds its standard input open; it ends when that is closed.
    _process: Child,
}

impl TlsServer {
    pub fn start(answer: &str) -> Self {
        let folder = directory();
        // The virtualenv of moto has what makes certificates.
        let mut process = Command::new(moto::python())
            .arg(SERVER)
            .arg(folder.path())
            .arg(answer)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the virtualenv's python runs");
        let mut port = String::new();
        let stdout = process.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut port).expect("the server prints its port");
        let port: u16 = port.trim().parse().expect("the server prints its port; what went wrong is above");
        Self { url: format!("https://127.0.0.1:{port}"), folder, _process: process }
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}
