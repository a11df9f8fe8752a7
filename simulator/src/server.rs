//! HTTP/1.1 with keep-alive, and HTTP/2 on TLS, around the engine.

use crate::{
    admin,
    engine::{Engine, Reply},
    request::Incoming,
    tls::HTTP2,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, body,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// No call of the catalogue comes near this.
const MAX_BODY: usize = 1 << 20;

/// Serves until `stop` says so; connections that are open then are cut.
pub(crate) async fn serve(
    engine: Arc<Engine>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers must not wait for more to come; where it cannot be set, they are late and no worse.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection(Arc::clone(&engine), tls.clone(), stream));
                }
                // Out of file descriptors: some connection will end.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.changed() => return,
        }
    }
}

async fn connection(engine: Arc<Engine>, tls: Option<TlsAcceptor>, stream: TcpStream) {
    let Some(tls) = tls else { return converse(engine, stream, false).await };
    // An error is the client's going away, here and below.
    if let Ok(stream) = tls.accept(stream).await {
        let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        converse(engine, stream, http2).await;
    }
}

async fn converse(engine: Arc<Engine>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) {
    engine.tally.connected(http2);
    let service = service_fn(move |request| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(respond(&engine, request).await) }
    });
    let stream = TokioIo::new(stream);
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().pipeline_flush(true).serve_connection(stream, service).await;
    }
}

async fn respond(engine: &Arc<Engine>, request: Request<body::Incoming>) -> Response<Full<Bytes>> {
    let (mut head, body) = request.into_parts();
    // HTTP/2 says the host beside the headers; signatures have it among them.
    if let Some(authority) = head.uri.authority()
        && !head.headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        head.headers.insert(header::HOST, host);
    }
    let Ok(collected) = Limited::new(body, MAX_BODY).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let request = Incoming {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: collected.to_bytes(),
    };
    let reply = match request.path.starts_with(admin::PREFIX) {
        true => admin::answer(engine, &request),
        false => engine.answer(request).await,
    };
    response(reply)
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if let Ok(id) = HeaderValue::try_from(reply.request_id) {
        headers.insert("x-amzn-requestid", id.clone());
        headers.insert("x-amz-request-id", id);
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
