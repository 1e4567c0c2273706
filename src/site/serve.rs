//! `aaws docs serve`: the site on this machine only.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use crate::model::error::{Error, Result};

/// How long it waits when no connection can be accepted: there are no more files for it, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves a folder on 127.0.0.1 until the process ends. Port 0 is a free one; `ready` is told the address.
pub async fn serve(folder: PathBuf, port: u16, ready: impl FnOnce(&str)) -> Result<()> {
    let failed = |e| Error::io(format!("listen on port {port} of 127.0.0.1"), e);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    ready(&format!("http://{}:{port}/", Ipv4Addr::LOCALHOST));
    let folder = Arc::new(folder);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // One connection that fails is no reason to end all others.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let folder = Arc::clone(&folder);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let folder = Arc::clone(&folder);
                async move { Ok::<_, Infallible>(answer(&folder, port, &request).await) }
            });
            // A reader that goes away is no error of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// Whether a request was meant for this server. A page of somebody else's whose name was made to lead here (DNS rebinding) names its own host.
fn is_ours(host: Option<&HeaderValue>, port: u16) -> bool {
    let Some(host) = host.and_then(|host| host.to_str().ok()) else { return false };
    let (name, given) = host.rsplit_once(':').map_or((host, Some(80)), |(name, port)| (name, port.parse().ok()));
    given == Some(port) && (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
}

async fn answer(folder: &Path, port: u16, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !is_ours(request.headers().get(HOST), port) {
        return reply(StatusCode::MISDIRECTED_REQUEST, "text/plain", Vec::new());
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new());
    }
    for path in candidates(folder, request.uri().path()) {
        if let Ok(bytes) = tokio::fs::read(&path).await {
            return reply(StatusCode::OK, kind(&path), bytes);
        }
    }
    let page = tokio::fs::read(folder.join("404.html")).await.unwrap_or_default();
    reply(StatusCode::NOT_FOUND, "text/html; charset=utf-8", page)
}

/// The files that a path may stand for: itself, a page without its ending, a folder's first page. Nothing outside the folder.
fn candidates(folder: &Path, path: &str) -> Vec<PathBuf> {
    let Ok(path) = percent_decode_str(path.trim_start_matches('/')).decode_utf8() else { return Vec::new() };
    let relative = Path::new(path.as_ref());
    if relative.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Vec::new();
    }
    let plain = folder.join(relative);
    let page = PathBuf::from(format!("{}.html", plain.display()));
    if path.is_empty() || path.ends_with('/') {
        vec![plain.join("index.html")]
    } else {
        vec![plain.clone(), page, plain.join("index.html")]
    }
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("xml") => "application/xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn reply(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(Bytes::from(bytes)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_are_served() {
        let ours = |host: &'static str, port| is_ours(Some(&HeaderValue::from_static(host)), port);
        assert!(ours("127.0.0.1:8000", 8000) && ours("LocalHost:8000", 8000) && ours("localhost", 80));
        for host in ["evil.example:8000", "localhost:8001", "localhost", "127.0.0.1.evil.example:8000", "[::1]:8000", ""] {
            assert!(!ours(host, 8000), "{host}");
        }
        assert!(!is_ours(None, 8000));
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let of = |path: &str| candidates(Path::new("/site"), path);
        assert_eq!(of("/"), [PathBuf::from("/site/index.html")]);
        assert_eq!(of("/aws/actions/s3/delete_objects")[1], PathBuf::from("/site/aws/actions/s3/delete_objects.html"));
        for path in ["/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd/../x", "/a/../../x"] {
            assert!(of(path).iter().all(|p| p.starts_with("/site") && !p.display().to_string().contains("..")), "{path}: {:?}", of(path));
        }
    }
}
