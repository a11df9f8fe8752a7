//! What fleetscan's queue costs beside the bare client, on a RabbitMQ and a Redis of its own:
//!
//! ```text
//! cargo bench --workspace --bench queue -- [--tasks N] [--rounds N]
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
mod cpu;
mod fleet;
#[path = "../../tests/servers/rabbitmq.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod rabbitmq;
#[path = "../../tests/servers/redis.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod redis;

use bare::Bare;
use cpu::Cpu;
use fleet::Fleet;
use std::time::Duration;

/// As the command has it, for both ways.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Accounts that the tasks are spread over.
const ACCOUNTS: usize = 500;
/// Tasks that a worker holds: the command's default.
const PREFETCH: u16 = 192;

struct Sample {
    what: &'static str,
    way: &'static str,
    rate: f64,
    /// Microseconds of processor time a task: client, store, broker.
    cpu: [f64; 3],
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
    let cpu = Cpu::of(&broker, &redis);
    let samples = runtime.block_on(async {
        let mut samples = Vec::new();
        for round in 0..rounds {
            compare(&broker, &redis.url(), &cpu, (round, tasks), &mut samples).await;
        }
        samples
    });
    println!(
        "\n{tasks} tasks, {rounds} rounds\n{:<10}{:<14}{:>10}{:>18}{:>9}   µs of processor a task: client, store, broker",
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
        let [client, store, broker] = [0, 1, 2].map(|of| median(&cpu_of(&samples, what, way, of)));
        println!(
            "{what:<10}{way:<14}{:>10.0}{:>18}{ratio:>9.2}{client:>9.1}{store:>8.1}{broker:>8.1}",
            median(&rates),
            format!("{low:.0}–{high:.0}")
        );
    }
    let of = |what, way| median(&rates(&samples, what, way));
    let published = of("publish", "fleetscan") / of("publish", "bare");
    let completed = of("complete", "fleetscan") / of("complete", "bare + redis");
    let cost = |way| [0, 1, 2].map(|of| median(&cpu_of(&samples, "complete", way, of))).iter().sum::<f64>();
    println!(
        "\npublishing {published:.2} of bare (wanted 0.70); completing {completed:.2} of bare with one round trip to Redis (wanted 0.70), \
         {:.2} by processor time",
        cost("bare + redis") / cost("fleetscan")
    );
}

/// Sorted; `of`: the client's, the store's or the broker's.
fn cpu_of(samples: &[Sample], what: &str, way: &str, of: usize) -> Vec<f64> {
    let mut costs: Vec<f64> = samples.iter().filter(|s| s.what == what && s.way == way).map(|s| s.cpu[of]).collect();
    costs.sort_by(f64::total_cmp);
    costs
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
async fn compare(
    broker: &rabbitmq::Broker,
    redis: &str,
    cpu: &Cpu,
    (round, tasks): (usize, usize),
    samples: &mut Vec<Sample>,
) {
    let mut before = cpu.spent();
    let mut note = |what, way, took: Option<Duration>| {
        let spent = cpu.spent();
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let tasks = tasks as f64;
        let of = |n: usize| spent[n].saturating_sub(before[n]).as_secs_f64() * 1e6 / tasks;
        let costs = [0, 1, 2].map(of);
        before = spent;
        let Some(took) = took else { return };
        let rate = tasks / took.as_secs_f64();
        println!("round {round}: {what:<9} {way:<13} {rate:>9.0} tasks/s");
        samples.push(Sample { what, way, rate, cpu: costs });
    };
    let fleet = Fleet::new(&broker.url(), redis, round, tasks).await;
    let bare = Bare::new(&broker.url(), redis).await;
    note("", "", None);
    note("publish", "bare", Some(bare.publish(&fleet.tasks).await));
    note("complete", "bare", Some(bare.consume(tasks, false).await));
    empty(broker);
    note("", "", None);
    note("publish", "fleetscan", Some(fleet.publish().await));
    note("complete", "bare + redis", Some(bare.consume(tasks, true).await));
    empty(broker);
    fleet.publish().await;
    fleet.plan().await;
    note("", "", None);
    note("complete", "fleetscan", Some(fleet.complete().await));
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
