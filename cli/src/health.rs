//! `fleetscan health`: whether a coordinator or worker is well, for images that have no other program to ask with.

use crate::{
    args::HealthArgs,
    failure::{COMPLETE, Failure},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use std::{io::Write as _, net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// From the first packet to the last.
const PATIENCE: Duration = Duration::from_secs(4);
/// What is read of an answer; a health page has a line or two.
const LONGEST: usize = 16 * 1024;

pub async fn run(args: HealthArgs) -> Result<u8, Failure> {
    let url = match (&args.url, args.listen) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => own(address, args.ready),
        (None, None) => {
            return Err(Failure::usage(
                "nobody to ask: name the page, as in `fleetscan health http://127.0.0.1:9464/readyz`, or set \
                 FLEETSCAN_LISTEN as for the process itself",
            ));
        }
    };
    let asked = tokio::time::timeout(PATIENCE, ask(&url)).await;
    let (status, body) =
        asked.map_err(|_| Failure::failed(format!("{url} did not answer within {} s", PATIENCE.as_secs())))??;
    match status.is_success() {
        true => {
            write!(std::io::stdout(), "{body}")?;
            Ok(COMPLETE)
        }
        false => Err(Failure::failed(format!("{url} answers {}: {}", status.as_u16(), body.trim_end()))),
    }
}

/// The page of a process that listens at an address of this machine; at all of them means at any.
fn own(listens: SocketAddr, ready: bool) -> String {
    let port = listens.port();
    let page = if ready { "readyz" } else { "healthz" };
    match listens.ip() {
        ip if !ip.is_unspecified() => format!("http://{listens}/{page}"),
        ip if ip.is_ipv6() => format!("http://[::1]:{port}/{page}"),
        _ => format!("http://127.0.0.1:{port}/{page}"),
    }
}

async fn ask(url: &str) -> Result<(StatusCode, String), Failure> {
    let parsed = url::Url::parse(url).ok().filter(|url| url.scheme() == "http");
    let shape = || Failure::usage(format!("{url}: write http://HOST:PORT/healthz"));
    let parsed = parsed.ok_or_else(shape)?;
    let (host, port) = (parsed.host_str().ok_or_else(shape)?, parsed.port_or_known_default().unwrap_or(80));
    let away = |error: &dyn std::fmt::Display| Failure::failed(format!("{url} does not answer: {error}"));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| away(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| away(&error))?;
    tokio::spawn(connection);
    let request = Request::get(parsed.path())
        .header(HOST, format!("{host}:{port}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| away(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| away(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| away(&error))?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_where_the_process_listens() {
        let own = |listens: &str, ready| own(listens.parse().expect("an address"), ready);
        assert_eq!(own("0.0.0.0:9464", false), "http://127.0.0.1:9464/healthz");
        assert_eq!(own("[::]:9464", true), "http://[::1]:9464/readyz");
        assert_eq!(own("127.0.0.2:1", true), "http://127.0.0.2:1/readyz");
    }
}
