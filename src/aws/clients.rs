//! The SDK's HTTP clients: through a proxy, without one, and without TLS; with which certificates.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::aws::endpoint::is_loopback;
use crate::model::error::{Error, Result};

/// The variables that name a proxy, as the SDK's HTTP client reads them.
pub(super) const PROXY_VARIABLES: &[&str] =
    &["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];

/// The variable that names certificates beside the system's.
pub(super) const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The clients of a run. Each keeps its connections, and makes what it needs for them when it is first used.
#[derive(Clone)]
pub(super) struct Clients {
    proxied: SharedHttpClient,
    /// For the loopback, which no proxy reaches.
    direct: SharedHttpClient,
    /// The same without TLS: the sandbox is there. To read the system's certificates takes milliseconds.
    plain: SharedHttpClient,
}

impl Clients {
    /// None of them is used yet.
    ///
    /// # Errors
    /// AWS_CA_BUNDLE cannot be read as certificates.
    pub fn new() -> Result<Self> {
        let context = tls_context()?;
        let client = |proxy: fn() -> ProxyConfig| {
            let context = context.clone();
            Builder::new().build_with_connector_fn(move |settings, components| {
                let mut builder = ConnectorBuilder::default().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
                builder = builder.tls_context(context.clone());
                builder.set_connector_settings(settings.cloned());
                builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
                builder.set_proxy_config(Some(proxy()));
                builder.build()
            })
        };
        Ok(Clients { proxied: client(ProxyConfig::from_env), direct: client(ProxyConfig::disabled), plain: Builder::new().build_http() })
    }

    /// The one for where a request goes.
    pub fn of(&self, uri: &str) -> &SharedHttpClient {
        match is_loopback(uri) {
            true if uri.starts_with("http:") => &self.plain,
            true => &self.direct,
            false => &self.proxied,
        }
    }
}

/// The system's certificates, and those of AWS_CA_BUNDLE beside them, as other tools of AWS have it.
fn tls_context() -> Result<TlsContext> {
    let mut store = TrustStore::default();
    if let Some(path) = std::env::var_os(CA_BUNDLE).filter(|p| !p.is_empty()) {
        let shown = path.to_string_lossy().into_owned();
        let bundle = std::fs::read(&path).map_err(|e| Error::io(format!("read the certificates of AWS_CA_BUNDLE, `{shown}`"), e))?;
        check_certificates(&bundle).map_err(|what| Error::Failed(format!("AWS_CA_BUNDLE: `{shown}` {what}")))?;
        store.add_pem_certificate(bundle);
    }
    TlsContext::builder().with_trust_store(store).build().map_err(|e| Error::Failed(format!("cannot set up TLS: {e}")))
}

/// Reads a bundle as TLS will, which panics over one that it cannot read.
fn check_certificates(bundle: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|e| format!("cannot be read as certificates in PEM form: {e}"))?;
        roots.add(certificate).map_err(|e| format!("holds a certificate that cannot be used: {e}"))?;
    }
    if roots.is_empty() { Err("holds no certificate in PEM form".into()) } else { Ok(()) }
}
