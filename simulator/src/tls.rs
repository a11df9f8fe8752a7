//! TLS in front of the simulated AWS, with HTTP/2 and HTTP/1.1 offered as AWS's endpoints do.

use anyhow::Context as _;
use std::{fmt, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// What a server of TLS needs. Clients trust it by the certificate's authority (`--ca-bundle`).
#[derive(Clone)]
pub struct Tls {
    /// The certificate and whatever leads to its authority, PEM.
    pub certificate: Vec<u8>,
    /// Its key, PEM.
    pub key: Vec<u8>,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("http2", &self.http2).finish_non_exhaustive()
    }
}

/// How HTTP/2 is called where the protocol is chosen (RFC 7301, RFC 9113).
pub(crate) const HTTP2: &[u8] = b"h2";

impl Tls {
    /// Fails where certificate or key cannot be read, or do not belong together.
    pub(crate) fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain =
            chain.ok().filter(|chain| !chain.is_empty()).context("the TLS certificate is no PEM certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).ok().context("the TLS key is no PEM private key")?;
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("the TLS certificate and its key do not go together")?;
        let protocols: &[&[u8]] = if self.http2 { &[HTTP2, b"http/1.1"] } else { &[b"http/1.1"] };
        server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(server)))
    }
}
