//! Listens until it is killed: `cargo run -p fleetscan-simulator --example serve -- 127.0.0.1:4566 20 off`.

use fleetscan_simulator::{Config, Limits, Simulator};
use std::io::Write as _;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:4566".to_owned());
    let accounts = args.next().map_or(Ok(100), |text| text.parse())?;
    let limits = if args.next().as_deref() == Some("off") { Limits::Off } else { Limits::Published };
    let config = Config { accounts, limits, ..Config::default() };
    let simulator = Simulator::start(config, TcpListener::bind(listen).await?).await?;
    writeln!(std::io::stdout(), "{}", simulator.endpoint())?;
    std::future::pending::<()>().await;
    Ok(())
}
