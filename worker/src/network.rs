//! The way to AWS from where fleetscan runs: through a proxy, past a private certificate authority, to FIPS endpoints
//! alone. And the name that fleetscan gives itself on every request.

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{self, TlsContext, TrustStore},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use base64::Engine as _;
use fleetscan_proto::Secret;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::fmt;

/// How fleetscan names itself in customers' CloudTrail.
pub const USER_AGENT: &str = concat!("fleetscan/", env!("CARGO_PKG_VERSION"));

/// Addresses that hand out credentials on the machine itself, and are never behind a proxy: EC2's instance metadata,
/// ECS's and EKS's credential endpoints (AWS SDKs and Tools Reference, "Container credential provider").
const NEVER_PROXIED: &str = "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";

/// How AWS is reached. By default: directly, and trusting whom the machine trusts.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// A proxy that everything goes through.
    pub proxy: Option<Proxy>,
    /// Certificates (PEM) of authorities that are trusted beside the machine's own.
    pub ca_bundle: Option<Vec<u8>>,
    /// Only FIPS endpoints; what has none is not called.
    pub fips: bool,
}

/// A proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// `http[s]://[user:password@]host:port`.
    pub url: Secret,
    /// Hosts that are reached without it, as `NO_PROXY` lists them.
    pub except: Option<String>,
    /// For requests over TLS alone: what `HTTPS_PROXY` means.
    pub tls_only: bool,
}

/// What cannot work; the texts repeat no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The proxy's URL.
    #[error("the proxy is no URL that can be used: write http://HOST:PORT or https://HOST:PORT")]
    Proxy,
    /// The certificates.
    #[error(
        "the CA bundle holds no certificate that can be read: it must be PEM, with -----BEGIN CERTIFICATE----- lines"
    )]
    CaBundle,
    /// Both an endpoint and FIPS.
    #[error(
        "--fips asks for AWS's own FIPS endpoints, and AWS_ENDPOINT_URL or --out-endpoint for another: leave one of \
         them out"
    )]
    FipsWithEndpoint,
    /// STS has none.
    #[error("AWS has no FIPS endpoint of STS in {0}: choose another region with --sts-region")]
    NoFipsSts(String),
}

impl Network {
    /// The means of every connection, checked.
    pub(crate) fn links(&self) -> Result<Links, NetworkError> {
        let mut trust = TrustStore::default();
        if let Some(pem) = &self.ca_bundle {
            let usable = authorities(pem)?;
            trust.add_pem_certificate(usable.into_bytes());
        }
        let tls = TlsContext::builder().with_trust_store(trust).build().map_err(|_| NetworkError::CaBundle)?;
        let proxy = self.proxy.as_ref().map(Proxy::config).transpose()?;
        Ok(Links { tls, proxy })
    }
}

/// The certificates of a bundle that can stand for an authority, as PEM. The connector would panic of any other; real
/// bundles hold some that nobody's TLS takes any more, which is no reason to do without the rest.
fn authorities(pem: &[u8]) -> Result<String, NetworkError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|_| NetworkError::CaBundle)?;
    let usable: Vec<_> = certificates.iter().filter(|der| webpki::anchor_from_trusted_cert(der).is_ok()).collect();
    if usable.is_empty() {
        return Err(NetworkError::CaBundle);
    }
    if usable.len() < certificates.len() {
        tracing::warn!(
            passed_over = certificates.len() - usable.len(),
            "network.ca_bundle: certificates that are no authority's"
        );
    }
    let armoured = |der: &&CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    Ok(usable.iter().map(armoured).collect())
}

impl Proxy {
    fn config(&self) -> Result<ProxyConfig, NetworkError> {
        let url = self.url.expose();
        let made = if self.tls_only { ProxyConfig::https(url) } else { ProxyConfig::all(url) };
        let except = self.except.as_deref().filter(|list| !list.trim().is_empty());
        let except = except.map_or_else(|| NEVER_PROXIED.to_owned(), |list| format!("{list},{NEVER_PROXIED}"));
        // The library's error repeats the URL, and a password may be in it.
        made.map(|config| config.no_proxy(except)).map_err(|_| NetworkError::Proxy)
    }
}

/// What connectors are made of.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    tls: TlsContext,
    proxy: Option<ProxyConfig>,
}

impl Links {
    /// A connector with these time-outs.
    pub(crate) fn connector(&self, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        SharedHttpConnector::new(Named(SharedHttpConnector::new(
            self.bare(settings, SharedAsyncSleep::new(TokioSleep::new())),
        )))
    }

    /// A client for the SDK's own crates, which choose their time-outs themselves.
    pub(crate) fn sdk_client(&self) -> SharedHttpClient {
        let links = self.clone();
        let inner = Builder::new().build_with_connector_fn(move |settings, components| {
            let settings = settings.cloned().unwrap_or_else(|| HttpConnectorSettings::builder().build());
            let sleep = components.and_then(RuntimeComponents::sleep_impl);
            links.bare(&settings, sleep.unwrap_or_else(|| SharedAsyncSleep::new(TokioSleep::new())))
        });
        SharedHttpClient::new(NamedClient(inner))
    }

    fn bare(&self, settings: &HttpConnectorSettings, sleep: SharedAsyncSleep) -> Connector {
        let mut builder = Connector::builder()
            .connector_settings(settings.clone())
            .sleep_impl(sleep)
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(self.tls.clone());
        builder.set_proxy_config(self.proxy.clone());
        builder.build()
    }
}

/// Puts fleetscan's name before whatever the request says of its sender. Signatures leave that header out.
#[derive(Debug)]
struct Named(SharedHttpConnector);

impl HttpConnector for Named {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers_mut();
        let said = headers.get("user-agent").unwrap_or_default();
        if !said.starts_with(USER_AGENT) {
            let named = format!("{USER_AGENT} {said}");
            headers.insert("user-agent", named.trim_end().to_owned());
        }
        self.0.call(request)
    }
}

struct NamedClient(SharedHttpClient);

impl fmt::Debug for NamedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedClient")
    }
}

impl HttpClient for NamedClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Named(self.0.http_connector(settings, components)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str) -> Network {
        Network { proxy: Some(Proxy { url: Secret::new(url), except: None, tls_only: false }), ..Network::default() }
    }

    #[test]
    fn what_cannot_be_a_way_is_refused_without_repeating_a_password() {
        for url in ["", "proxy:3128", "socks5://u:hunter2@proxy:1080", "http://u:hunter2@ho st:1"] {
            let error = proxy(url).links().expect_err(url);
            assert_eq!(error, NetworkError::Proxy);
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(proxy("http://u:hunter2@proxy.example:3128").links().is_ok());
        assert!(!format!("{:?}", proxy("http://u:hunter2@proxy.example:3128")).contains("hunter2"));
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused_and_panics_nowhere() {
        // The last one is base64 of what is no certificate.
        for text in [
            "",
            "no PEM",
            "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
        ] {
            let network = Network { ca_bundle: Some(text.as_bytes().to_vec()), ..Network::default() };
            assert_eq!(network.links().expect_err(text), NetworkError::CaBundle);
        }
    }
}
