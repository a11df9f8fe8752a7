//! What fleetscan's queue costs beside the bare client, on a RabbitMQ and a Redis of its own:
//!
//! ```text
//! cargo bench -p fleetscan-backends --bench queue -- [--tasks N] [--rounds N]
//! ```
//!
//! * publish: tasks with confirms through [`RabbitQueue`], in the coordinator's batches, beside a bare publisher of
//!   the same messages into the same queues (32 quorum queues), four channels of 1,000 unconfirmed messages as well
//! * complete: consuming, beginning and completing in the store, and acknowledging, as a worker does with a cell that
//!   needs no call; beside a bare loop that consumes and acknowledges, and one that asks Redis once in between
//!
//! Ways take turns within a round; the table has the medians and the ratio to bare in the same run.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod bare;
mod fleet;
#[path = "../../tests/servers/rabbitmq.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod rabbitmq;
#[path = "../../tests/servers/redis.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod redis;

use bare::Bare;
use fleet::Fleet;
use std::time::Duration;

/// Accounts that the tasks are spread over.
const ACCOUNTS: usize = 500;
/// Tasks that a worker holds: the command's default.
const PREFETCH: u16 = 192;

struct Sample {
    what: &'static str,
    way: &'static str,
    rate: f64,
}

fn number(name: &str, default: usize) -> usize {
    let words: Vec<String> = std::env::args().collect();
    let value = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    value.map_or(default, |word| word.parse().unwrap_or_else(|_| panic!("{name} takes a number, not {word}")))
}

fn main() {
    let (tasks, rounds) = (number("--tasks", 200_000), number("--rounds", 3));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let broker = rabbitmq::Broker::start();
    let redis = redis::RedisServer::start(&[]);
    let samples = runtime.block_on(async {
        let mut samples = Vec::new();
        for round in 0..rounds {
            compare(&broker, &redis.url(), round, tasks, &mut samples).await;
        }
        samples
    });
    println!(
        "\n{tasks} tasks, {rounds} rounds\n{:<10}{:<14}{:>10}{:>18}{:>9}",
        "what", "way", "tasks/s", "min–max", "to bare"
    );
    for (what, way, base) in [
        ("publish", "bare", "bare"),
        ("publish", "fleetscan", "bare"),
        ("complete", "bare", "bare"),
        ("complete", "bare + redis", "bare"),
        ("complete", "fleetscan", "bare"),
    ] {
        let rates = rates(&samples, what, way);
        let (low, high) = (rates.first().copied().unwrap_or(f64::NAN), rates.last().copied().unwrap_or(f64::NAN));
        let ratio = median(&rates) / median(&self::rates(&samples, what, base));
        println!("{what:<10}{way:<14}{:>10.0}{:>18}{ratio:>9.2}", median(&rates), format!("{low:.0}–{high:.0}"));
    }
    let of = |what, way| median(&rates(&samples, what, way));
    let published = of("publish", "fleetscan") / of("publish", "bare");
    let completed = of("complete", "fleetscan") / of("complete", "bare + redis");
    println!(
        "\npublishing {published:.2} of bare (wanted 0.70); completing {completed:.2} of bare with one round trip to Redis (wanted 0.70)"
    );
}

/// Sorted.
fn rates(samples: &[Sample], what: &str, way: &str) -> Vec<f64> {
    let mut rates: Vec<f64> = samples.iter().filter(|s| s.what == what && s.way == way).map(|s| s.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One round: each way once, from an empty broker.
async fn compare(broker: &rabbitmq::Broker, redis: &str, round: usize, tasks: usize, samples: &mut Vec<Sample>) {
    let mut note = |what, way, took: Duration| {
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = tasks as f64 / took.as_secs_f64();
        println!("round {round}: {what:<9} {way:<13} {rate:>9.0} tasks/s");
        samples.push(Sample { what, way, rate });
    };
    let fleet = Fleet::new(&broker.url(), redis, round, tasks).await;
    let bare = Bare::new(&broker.url(), redis).await;
    note("publish", "bare", bare.publish(&fleet.tasks).await);
    note("complete", "bare", bare.consume(tasks, false).await);
    empty(broker);
    note("publish", "fleetscan", fleet.publish().await);
    note("complete", "bare + redis", bare.consume(tasks, true).await);
    empty(broker);
    fleet.publish().await;
    fleet.plan().await;
    note("complete", "fleetscan", fleet.complete().await);
    empty(broker);
}

/// Waits until the broker has seen every acknowledgement, which AMQP confirms to nobody.
fn empty(broker: &rabbitmq::Broker) {
    loop {
        let listed = broker.control(&["list_queues", "--quiet", "--no-table-headers", "messages"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        if listed.lines().all(|count| count.trim() == "0") {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
