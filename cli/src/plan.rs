//! `fleetscan plan`: how long a scan will take, by the fleet's own code in virtual time.

use crate::{
    args::PlanArgs,
    display,
    failure::{COMPLETE, Failure},
    numbers::{grouped, many, rate, time},
    profile, scan, services,
    terminal::Terminal,
};
use fleetscan_forecast::{Bound, Estate, Figures, Setting, Sizes, simulate};
use fleetscan_proto::Profile;
use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A scan that takes so many times the best one's time is as good: fewer workers are enough.
const AS_GOOD: f64 = 1.1;
/// A scan within so many times its bound cannot be mended by more of anything on our side.
const NEAR_BOUND: f64 = 1.15;
/// Lines of the table of buckets.
const SHOWN: usize = 8;
/// What STS's shared bucket gives the whole fleet in a second.
const STS_SHARE: f64 = 300.0;
/// Shards of a fleet that is not told otherwise, and the most that it may have.
const USUAL_SHARDS: u16 = 32;
const MOST_SHARDS: u16 = 256;
/// A coordinator's deadline, unless it is told another.
const USUAL_DEADLINE: f64 = 6.0 * 3600.0;
/// What is not the fleet's own code in a simulation.
const MODELLED: [&str; 4] = [
    "AWS: answers, waits and token buckets",
    "broker and store: in memory, answering at once",
    "sizes of accounts: drawn from a file",
    "left out: CloudTrail's events, signing, TLS, parsing, processor time, writing results, finalising",
];

pub async fn run(args: PlanArgs, terminal: Terminal) -> Result<u8, Failure> {
    let (profile, profile_file) = profile::of_scan(&args.profile)?;
    let part = profile.of(services::catalogue()).map_err(Failure::usage)?;
    let worker = scan::worker_config(args.concurrency, args.share, &part)?;
    let sizes = sizes(&args.sizes)?;
    let estate = Estate::new(args.accounts, args.regions, Arc::new(part), sizes, args.seed).map_err(Failure::usage)?;
    let counts = counts(&args);
    let shards = args.shards.unwrap_or_else(|| usual_shards(&counts));
    let asked = Asked { counts, shards, estate: Arc::new(estate), profile, args };
    let setting = Setting {
        workers: 1,
        catalogue: Arc::new(services::catalogue().clone()),
        worker,
        profile: asked.profile.name().to_owned(),
        profile_file,
        latency: Duration::from_millis(asked.args.latency),
        window: asked.args.window as usize,
        shards: asked.shards,
        again: asked.args.again,
        slice: 1,
    };
    // Simulations have runtimes of their own, whose clocks stand still.
    let told = tokio::task::spawn_blocking(move || asked.forecast(&setting)).await.map_err(Failure::failed)??;
    let mut stdout = std::io::stdout().lock();
    if told.asked.args.json {
        writeln!(stdout, "{}", told.json())?;
    } else {
        told.write(&mut stdout, terminal)?;
    }
    Ok(COMPLETE)
}

fn sizes(text: &str) -> Result<Sizes, Failure> {
    if let Some(sizes) = Sizes::built_in(text) {
        return Ok(sizes);
    }
    if !text.ends_with(".toml") && !Path::new(text).exists() {
        let names: Vec<&str> = Sizes::names().collect();
        let names = names.join(", ");
        return Err(Failure::usage(format!(
            "--sizes: there is no {text:?}; there are {names}, and files of your own (*.toml)"
        )));
    }
    let read = scan::read_named("sizes", Path::new(text)).map_err(Failure::usage)?;
    Sizes::parse(text, &read).map_err(Failure::usage)
}

/// The numbers of workers to compare: those that were named, or one and some around it.
fn counts(args: &PlanArgs) -> Vec<usize> {
    let mut counts = match args.workers[..] {
        [one] if !args.only => vec![one.div_ceil(4), one.div_ceil(2), one, one * 2],
        _ => args.workers.clone(),
    };
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// Shards of a fleet: some for each worker, so that they can help each other.
fn usual_shards(counts: &[usize]) -> u16 {
    let most = counts.iter().max().copied().unwrap_or(1).saturating_mul(2);
    u16::try_from(most).unwrap_or(MOST_SHARDS).clamp(USUAL_SHARDS, MOST_SHARDS)
}

struct Asked {
    args: PlanArgs,
    shards: u16,
    profile: Profile,
    estate: Arc<Estate>,
    counts: Vec<usize>,
}

impl Asked {
    /// Simulates a scan for each number of workers, as many at once as there are processors.
    fn forecast(self, setting: &Setting) -> Result<Told, Failure> {
        let bound = Bound::of(&self.estate, self.args.share);
        let waiting = Mutex::new(self.counts.clone());
        let done = Mutex::new(Vec::new());
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(self.counts.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(workers) = lock(&waiting).pop() {
                        let slice = match self.args.whole {
                            true => 1,
                            false => Setting::best_slice(self.args.accounts as usize, workers, setting.window),
                        };
                        let setting = Setting { workers, slice, ..setting.clone() };
                        let figures = simulate(&self.estate, &bound, &setting);
                        if let Ok(figures) = &figures {
                            let took = time(Duration::from_secs_f64(figures.took));
                            display::note(&format!("Simulated {} in {took}", many(workers as u64, "worker")));
                        }
                        lock(&done).push(figures);
                    }
                });
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut plans = done.into_iter().collect::<Result<Vec<Figures>, _>>().map_err(Failure::failed)?;
        plans.sort_by_key(|figures| figures.workers);
        Ok(Told { asked: self, concurrency: setting.worker.concurrency, bound, plans })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a forecast says.
struct Told {
    asked: Asked,
    concurrency: usize,
    bound: Bound,
    plans: Vec<Figures>,
}

impl Told {
    /// The fewest workers that are as good as any.
    fn worth_having(&self) -> Option<&Figures> {
        let best = self.plans.iter().map(|figures| figures.seconds).min_by(f64::total_cmp)?;
        self.plans.iter().find(|figures| figures.seconds <= best * AS_GOOD)
    }

    /// What to change, a sentence each.
    fn advice(&self) -> Vec<String> {
        let (args, mut advice) = (&self.asked.args, Vec::new());
        let Some(best) = self.worth_having() else { return advice };
        let shards = usize::from(self.asked.shards);
        let scarce = self.plans.iter().any(|figures| figures.workers > shards);
        if self.plans.last().is_some_and(|last| last.workers > best.workers) {
            advice.push(format!("More than {} gain less than a tenth.", many(best.workers as u64, "worker")));
        }
        if scarce {
            advice.push(format!(
                "A shard is one worker's: with --shards {shards} no more than {shards} workers have work. Raise \
                 --shards of every process to twice the workers."
            ));
        } else if shards > usize::from(USUAL_SHARDS) && best.workers * 2 > usize::from(USUAL_SHARDS) {
            advice.push(format!("So many workers need --shards {shards} in every process of the fleet."));
        }
        let latency = args.latency as f64 / 1000.0;
        if best.seconds <= self.bound.buckets * NEAR_BOUND {
            advice.push(match args.share < 1.0 {
                true => format!(
                    "AWS's own buckets bind, at --share {}: only a larger share, a smaller --profile or fewer \
                     --regions makes it faster.",
                    args.share
                ),
                false => "AWS's own buckets bind: only a smaller --profile or fewer --regions makes it faster.".into(),
            });
        } else if best.pending * 10 >= u64::from(args.window) * 8 && best.busy < 0.8 {
            advice.push(format!(
                "The coordinator's window is full ({} cells of {}) while workers have room: raise --window of \
                 `fleetscan coordinator`.",
                grouped(best.pending),
                grouped(u64::from(args.window))
            ));
        } else if self.bound.latency(latency, best.workers * self.concurrency) >= best.seconds / NEAR_BOUND {
            advice.push(format!(
                "AWS's answers take most of the time: more workers, or more than --concurrency {}.",
                self.concurrency
            ));
        }
        if best.assume_role_rate > STS_SHARE * 0.8 {
            advice.push("STS's limit for AssumeRole binds: accounts wait for their sessions.".into());
        }
        if best.seconds > USUAL_DEADLINE {
            advice.push(format!(
                "It takes longer than a scan's usual deadline of 6 h: start it with --deadline-minutes {}.",
                (best.seconds / 60.0 * 1.5).ceil()
            ));
        }
        if best.holes > 0 {
            advice.push(format!("{} would end with a hole.", many(best.holes, "cell")));
        }
        advice
    }

    fn json(&self) -> serde_json::Value {
        let args = &self.asked.args;
        serde_json::json!({
            "accounts": args.accounts, "regions": self.asked.estate.regions(), "profile": self.asked.profile.name(),
            "sizes": args.sizes, "again": args.again, "seed": args.seed, "share": args.share, "latency_ms": args.latency,
            "concurrency": self.concurrency, "window": args.window, "shards": self.asked.shards, "bound": self.bound,
            "plans": self.plans, "workers_worth_having": self.worth_having().map(|figures| figures.workers),
            "sts_calls_per_second_allowed": STS_SHARE, "advice": self.advice(), "modelled": MODELLED,
        })
    }

    fn write(&self, out: &mut impl Write, terminal: Terminal) -> Result<(), Failure> {
        let (args, bound) = (&self.asked.args, &self.bound);
        writeln!(
            out,
            "{} ({}) in {}, profile {}: {} and {}.",
            many(u64::from(args.accounts), "account"),
            args.sizes,
            many(args.regions as u64, "region"),
            self.asked.profile,
            many(bound.cells, "cell"),
            many(bound.calls, "call")
        )?;
        let head = format!(
            "{:>7}  {:>13}  {:>8}  {:>8}  {:>6}  {:>9}  {:>10}  {:>8}  {:>14}",
            "workers", "time", "of bound", "calls/s", "busy", "throttled", "sessions/s", "queue", "small accounts"
        );
        writeln!(out, "\n{}", terminal.bold(&head))?;
        for figures in &self.plans {
            writeln!(
                out,
                "{:>7}  {:>13}  {:>8.2}  {:>8}  {:>5.0}%  {:>9}  {:>10.1}  {:>8}  {:>14}",
                figures.workers,
                time(Duration::from_secs_f64(figures.seconds)),
                figures.ratio(),
                grouped(rate(figures.calls, figures.seconds)),
                figures.busy * 100.0,
                grouped(figures.throttled),
                figures.assume_role_rate,
                grouped(figures.queue),
                time(Duration::from_secs_f64(figures.turnaround.smallest)),
            )?;
        }
        writeln!(
            out,
            "\nThe slowest of AWS's buckets takes {}; the roles alone {} at STS's {STS_SHARE} a second.",
            time(Duration::from_secs_f64(bound.buckets)),
            time(Duration::from_secs_f64(bound.sessions))
        )?;
        if !bound.binding.is_empty() {
            let head = format!("{:20}  {:44}  {:>8}  {:>12}", "service", "slowest bucket", "accounts", "longest");
            writeln!(out, "\n{}", terminal.bold(&head))?;
        }
        for binding in bound.binding.iter().take(SHOWN) {
            writeln!(
                out,
                "{:20}  {:44}  {:>8}  {:>12}",
                binding.service,
                binding.group,
                grouped(binding.accounts),
                time(Duration::from_secs_f64(binding.seconds))
            )?;
        }
        writeln!(out)?;
        if let Some(best) = self.worth_having() {
            let took = time(Duration::from_secs_f64(best.seconds));
            writeln!(
                out,
                "{}: {took}.",
                terminal.bold(&format!("{} worth having", many(best.workers as u64, "worker")))
            )?;
        }
        for sentence in self.advice() {
            writeln!(out, "{sentence}")?;
        }
        if !args.again {
            let note =
                "A first scan. Later ones begin with the accounts that took the longest: --again simulates such a one.";
            writeln!(out, "{}", terminal.dim(note))?;
        }
        if let Some(parts) = self.plans.iter().map(|figures| figures.slice).filter(|parts| *parts > 1).max() {
            let note = format!(
                "Simulated was one account of up to {parts}, by as many fewer workers: --whole simulates every account."
            );
            writeln!(out, "{}", terminal.dim(&note))?;
        }
        writeln!(out, "{}", terminal.dim(&format!("Modelled: {}.", MODELLED.join("; "))))?;
        Ok(())
    }
}
