//! `--listen`: metrics and health over HTTP, for Prometheus and whoever keeps processes alive; on a coordinator, its
//! live page as well.

use crate::{
    failure::Failure,
    page::{Body, Site},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus::{Encoder as _, Registry, TextEncoder};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Connections that are served at once; scrapers and browsers are few.
const CONNECTIONS: usize = 128;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is served.
pub struct Page {
    /// Where the metrics are gathered.
    pub registries: Vec<Registry>,
    /// Whether the process can do its work now: how what it stands on does, or the reasons why not, in lines.
    pub ready: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// What is served beside these.
    pub site: Option<Site>,
}

/// Serves until the process ends. Answers the address, whose port was chosen where 0 was asked for.
pub async fn serve(address: SocketAddr, page: Page) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::failed(format!("--listen {address} cannot be had: {error}")))?;
    let bound = listener.local_addr()?;
    let page = Arc::new(page);
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: others will be closed.
                    tracing::warn!(%error, "listen.accept_failed");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let page = Arc::clone(&page);
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let page = Arc::clone(&page);
                    async move { Ok::<_, Infallible>(page.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(hyper_util::rt::TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), answer);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "listen.connection_ended");
                }
                drop(slot);
            });
        }
    });
    Ok(bound)
}

impl Page {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let plain = matches!(path, "/metrics" | "/healthz" | "/readyz");
        if let Some(site) = self.site.as_ref().filter(|_| !plain) {
            return site.answer(request).await.into_response();
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match path {
            "/metrics" => self.metrics(),
            // The process runs: that is all that a restart could mend.
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match (self.ready)() {
                Ok(how) => text(StatusCode::OK, format!("ready\n{how}")),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", why.trim_end())),
            },
            "/" => text(StatusCode::OK, "fleetscan: /metrics /healthz /readyz\n".to_owned()),
            _ => text(StatusCode::NOT_FOUND, "not found; there are /metrics, /healthz and /readyz\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Body> {
        let encoder = TextEncoder::new();
        let mut body = Vec::new();
        for registry in &self.registries {
            if let Err(error) = encoder.encode(&registry.gather(), &mut body) {
                return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
            }
        }
        let mut response = Response::new(Full::from(body).boxed_unsync());
        if let Ok(kind) = header::HeaderValue::from_str(encoder.format_type()) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Full::from(body).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
