//! HTTP/1.1 with keep-alive around the engine.

use crate::{
    admin,
    engine::{Engine, Reply},
    request::Incoming,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, body, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// No call of the catalogue comes near this.
const MAX_BODY: usize = 1 << 20;

/// Serves until `stop` says so; connections that are open then are cut.
pub(crate) async fn serve(engine: Arc<Engine>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers must not wait for more to come; where it cannot be set, they are late and no worse.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection(Arc::clone(&engine), TokioIo::new(stream)));
                }
                // Out of file descriptors: some connection will end.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.changed() => return,
        }
    }
}

async fn connection(engine: Arc<Engine>, stream: TokioIo<tokio::net::TcpStream>) {
    let service = service_fn(move |request| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(respond(&engine, request).await) }
    });
    // An error is the client's going away.
    let _ = http1::Builder::new().pipeline_flush(true).serve_connection(stream, service).await;
}

async fn respond(engine: &Arc<Engine>, request: Request<body::Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
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
