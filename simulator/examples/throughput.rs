//! Calls a second: the simulator on one thread of its own, limits and latency off, asked by keep-alive connections
//! that send a signed request again and again. `cargo run --release -p fleetscan-simulator --example throughput`.

#[path = "../tests/support/mod.rs"]
mod support;

use fleetscan_simulator::{Config, Limits, WorldKind};
use serde_json::json;
use std::{
    io::Write as _,
    time::{Duration, Instant},
};
use support::{Client, Plain, account, start};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const CONNECTIONS: usize = 16;
const SECONDS: u64 = 3;

fn main() -> anyhow::Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let world = WorldKind::Uniform { items: 20, regions: 1 };
            let config = Config { world, accounts: 10, limits: Limits::Off, holes: false, ..Config::default() };
            let simulator = start(config).await;
            let client = Client::of_account(&simulator, &account(&simulator, 0)).await;
            let table = json!({"Limit": 100});
            let host = simulator.endpoint().trim_start_matches("http://").to_owned();
            let calls = [
                ("GET a list of 20 (rest-json)", "lambda", Plain::get("/2015-03-31/functions?MaxItems=50")),
                ("POST a list of 20 (json-1.0)", "dynamodb", Plain::target("DynamoDB_20120810.ListTables", &table)),
                ("POST a list of 20 (query)", "iam", Plain::form("Action=ListAccountAliases&Version=2010-05-08")),
            ];
            let requests = calls
                .map(|(name, service, plain)| (name, wire(client.signed(service, "us-east-1", &plain), &plain.body)));
            tell.send((host, requests))?;
            std::future::pending::<anyhow::Result<()>>().await
        })
    });
    let (host, requests) = told.recv()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (name, request) in requests {
        let calls = runtime.block_on(measure(&host, &request))?;
        writeln!(std::io::stdout(), "{name:<32} {:>8.0} calls/s", calls as f64 / SECONDS as f64)?;
    }
    Ok(())
}

fn wire(request: http::Request<http_body_util::Full<bytes::Bytes>>, body: &str) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

async fn measure(host: &str, request: &[u8]) -> anyhow::Result<u64> {
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (host, request) = (host.to_owned(), request.to_vec());
        tasks.spawn(async move { ask(&host, &request, until).await });
    }
    let mut calls = 0;
    while let Some(done) = tasks.join_next().await {
        calls += done??;
    }
    Ok(calls)
}

async fn ask(host: &str, request: &[u8], until: Instant) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 17];
    let mut calls = 0;
    while Instant::now() < until {
        stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            filled += stream.read(&mut buffer[filled..]).await?;
            if let Some(whole) = length(&buffer[..filled])? {
                anyhow::ensure!(filled == whole, "an answer of another length");
                break;
            }
        }
        calls += 1;
    }
    Ok(calls)
}

/// The length of an answer, head and body, once its head is there.
fn length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    anyhow::ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    let field = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = head + 4 + field.unwrap_or("0").parse::<usize>()?;
    Ok((answer.len() >= whole).then_some(whole))
}
