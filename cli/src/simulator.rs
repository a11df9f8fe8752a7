//! `fleetscan simulator`: the simulated AWS alone.

use crate::{
    args::SimulatorArgs,
    failure::{COMPLETE, Failure},
    numbers::{grouped, many, rate},
    services, signals,
    summary::shell_word,
};
use fleetscan_simulator::{Config, Limits, Simulator, Sizes, Tls, WorldKind};
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

pub async fn run(args: SimulatorArgs) -> Result<u8, Failure> {
    let config = Config {
        seed: args.seed,
        accounts: args.accounts as usize,
        latency: Duration::from_millis(args.latency_ms),
        limits: limits(&args.limits)?,
        world: world(&args.world)?,
        holes: args.world == "demo",
        tls: tls(&args)?,
        catalogue: Arc::new(services::catalogue().clone()),
        ..Config::default()
    };
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::failed(format!(
            "{} cannot be listened on ({error}): choose another address with --listen",
            args.listen
        ))
    })?;
    let stop = signals::stop_in_order()?;
    let simulator = Simulator::start(config, listener).await.map_err(Failure::failed)?;
    std::fs::write(&args.accounts_file, simulator.accounts_toml())
        .map_err(|error| Failure::failed(format!("{}: {error}", args.accounts_file.display())))?;
    {
        let (key, secret) = simulator.hub_credentials();
        let file = shell_word(&args.accounts_file.display().to_string());
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "A simulated AWS with {} at {}", many(args.accounts.into(), "account"), simulator.endpoint())?;
        writeln!(stdout, "Scan it from another terminal (these keys are the simulation's own):\n")?;
        writeln!(
            stdout,
            "  AWS_ENDPOINT_URL={} AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} \\\n    fleetscan scan --accounts {file}\n",
            simulator.endpoint()
        )?;
        writeln!(stdout, "Ctrl-C ends it.")?;
        stdout.flush()?;
    }
    let started = Instant::now();
    stop.cancelled().await;
    let calls = simulator.counters().calls;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "It was asked {} ({} a second on average).",
        many(calls, "call"),
        grouped(rate(calls, seconds))
    )?;
    Ok(COMPLETE)
}

fn tls(args: &SimulatorArgs) -> Result<Option<Tls>, Failure> {
    let (Some(certificate), Some(key)) = (&args.tls_certificate, &args.tls_key) else { return Ok(None) };
    let read = |file: &Path| {
        std::fs::read(file).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))
    };
    Ok(Some(Tls { certificate: read(certificate)?, key: read(key)?, http2: !args.no_http2 }))
}

fn world(text: &str) -> Result<WorldKind, Failure> {
    match text {
        "demo" => return Ok(WorldKind::Demo),
        "giants" => return Ok(WorldKind::Giants),
        "empty" => return Ok(WorldKind::Empty),
        _ => {}
    }
    let wrong = || {
        Failure::usage(format!(
            "--world {text}: write demo, giants, empty, or items by list as in lambda:ListFunctions=200;regions=1 (also ;sizes=0.8,2x10)"
        ))
    };
    let mut words = text.split(';');
    let lists = words.next().unwrap_or_default();
    let (mut regions, mut sizes) = (1, None);
    for word in words {
        match word.split_once('=') {
            Some(("regions", count)) => regions = count.parse().map_err(|_| wrong())?,
            Some(("sizes", how)) => sizes = Some(unlike(how).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        }
    }
    let count = |pair: &str| Some((pair.split_once('=')?.0.to_owned(), pair.split_once('=')?.1.parse::<usize>().ok()?));
    let items: Option<BTreeMap<String, usize>> = lists.split(',').map(count).collect();
    let items = items.filter(|items| items.keys().all(|list| list.contains(':'))).ok_or_else(wrong)?;
    Ok(match sizes {
        None => WorldKind::Counts { items, regions },
        Some(sizes) => WorldKind::Mixed { items, regions, sizes },
    })
}

/// `0.8,2x10`: log-normal sizes with a standard deviation of 0.8, and two giants of ten times the middle.
fn unlike(text: &str) -> Option<Sizes> {
    let (spread, giants) = text.split_once(',').unwrap_or((text, "0x1"));
    let (giants, times) = giants.split_once('x')?;
    let spread = spread.parse::<f64>().ok().filter(|spread| (0.0..=3.0).contains(spread))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 300, and positive")]
    let spread = (spread * 100.0).round() as u32;
    Some(Sizes { spread, giants: giants.parse().ok()?, times: times.parse().ok().filter(|times| *times > 0)? })
}

fn limits(text: &str) -> Result<Limits, Failure> {
    match (text, text.parse::<f64>()) {
        ("published", _) => Ok(Limits::Published),
        ("off", _) => Ok(Limits::Off),
        (_, Ok(factor)) if factor > 0.0 && factor.is_finite() => Ok(Limits::Scaled(factor)),
        _ => Err(Failure::usage(format!("--limits {text}: write published, off, or a factor above 0 such as 0.5"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_are_named_or_counted() {
        let counted = world("lambda:ListFunctions=2,sns:ListTopics=3;regions=4").expect("counts");
        let WorldKind::Counts { items, regions } = counted else { panic!("{counted:?}") };
        assert_eq!((items.len(), items["sns:ListTopics"], regions), (2, 3, 4));
        let mixed = world("lambda:ListFunctions=2;sizes=0.8,2x10").expect("sizes");
        let WorldKind::Mixed { regions: 1, sizes, .. } = mixed else { panic!("{mixed:?}") };
        assert_eq!(sizes, Sizes { spread: 80, giants: 2, times: 10 });
        for bad in ["earth", "a:b=c", "a:b=1;sizes=9", "a:b=1;sizes=1,2x0", "a:b=1;colour=red"] {
            assert!(world(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_published_off_or_a_factor() {
        assert_eq!(limits("published").expect("known"), Limits::Published);
        assert_eq!(limits("0.5").expect("known"), Limits::Scaled(0.5));
        assert!(limits("0").is_err() && limits("fast").is_err());
    }
}
