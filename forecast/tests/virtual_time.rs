//! Whole scans of the fleet's own code in virtual time: how long they take against the bound, and at what cost.
#![allow(clippy::unwrap_used)]

use fleetscan_forecast::{Bound, Estate, Figures, Setting, Sizes, simulate};
use fleetscan_proto::{Profile, catalogue::Catalogue};
use fleetscan_worker::WorkerConfig;
use std::{sync::Arc, time::Duration};

const SHARE: f64 = 0.5;

/// Accounts that differ much, with a giant among them.
const UNEVEN: &str = r#"
extends = "typical"
[accounts]
factor = 0.5
spread = 1.0
giants = 0.01
giant_factor = 30.0
[regions]
busy = 1
busy_part = 0.2
"#;

fn estate(accounts: u32, regions: usize, sizes: &str) -> Arc<Estate> {
    let part = Profile::built_in("securityv0").unwrap().of(Catalogue::built_in()).unwrap();
    let sizes = Sizes::parse("uneven.toml", sizes).unwrap();
    Arc::new(Estate::new(accounts, regions, Arc::new(part), sizes, 1).unwrap())
}

fn setting(workers: usize) -> Setting {
    Setting {
        catalogue: Arc::new(Catalogue::built_in().clone()),
        workers,
        worker: WorkerConfig { share: SHARE, ..WorkerConfig::default() },
        profile: "securityv0".into(),
        profile_file: None,
        latency: Duration::from_millis(60),
        window: 16_384,
        shards: 32,
        again: false,
        slice: 1,
    }
}

fn scan(estate: &Arc<Estate>, workers: usize) -> (Figures, Bound) {
    let bound = Bound::of(estate, SHARE);
    let figures = simulate(estate, &bound, &setting(workers)).unwrap();
    (figures, bound)
}

#[test]
fn two_hundred_accounts_on_four_workers_take_little_more_than_the_bound() {
    let (figures, bound) = scan(&estate(200, 3, UNEVEN), 4);
    assert_eq!((figures.cells, figures.holes), (bound.cells, 0), "{figures:?}");
    assert!(figures.ratio() <= 1.15, "{figures:?}");
    // Nothing that the catalogue wants is left out, and little is asked twice: a call of each probe, and the pages that
    // were half done when a cell was put off.
    let extra = figures.calls - figures.throttled - bound.calls;
    assert!(
        (200..=200 + bound.calls / 200).contains(&extra),
        "{} calls, {} needed, {} throttled",
        figures.calls,
        bound.calls,
        figures.throttled
    );
    assert!(figures.assume_role * 10 <= figures.assume_role_least * 13, "{figures:?}");
    let turnaround = &figures.turnaround;
    assert!(turnaround.largest > 0.8 * figures.seconds, "the giant is what takes so long: {figures:?}");
    assert!(turnaround.smallest_most < 0.3 * turnaround.largest, "the smallest wait for the largest: {figures:?}");
    assert!(figures.pending <= 16_384 && figures.queue <= 16_384 + 200, "{figures:?}");
}

#[test]
fn more_workers_are_never_slower() {
    let estate = estate(40, 2, UNEVEN);
    let seconds: Vec<f64> = [1, 2, 4, 12].iter().map(|workers| scan(&estate, *workers).0.seconds).collect();
    for pair in seconds.windows(2) {
        assert!(pair[1] <= pair[0] * 1.05, "{seconds:?}");
    }
}

#[test]
fn a_small_window_is_kept() {
    let estate = estate(40, 4, UNEVEN);
    let bound = Bound::of(&estate, SHARE);
    let figures = simulate(&estate, &bound, &Setting { window: 512, ..setting(2) }).unwrap();
    assert_eq!((figures.cells, figures.holes), (bound.cells, 0));
    // An account is let in when its cells would fit, as far as can be guessed.
    assert!(figures.pending <= 512 + 128 && figures.queue <= 512 + 128 + 60, "{figures:?}");
}

/// One worker is busy for most of the time, and the giant is among the last accounts to be begun, unless it is known.
#[test]
fn a_later_scan_begins_with_the_giant_and_ends_sooner() {
    let estate = estate(100, 3, UNEVEN);
    let bound = Bound::of(&estate, SHARE);
    let first = Setting { window: 512, ..setting(1) };
    let [first, later] =
        [first.clone(), Setting { again: true, ..first }].map(|s| simulate(&estate, &bound, &s).unwrap());
    assert_eq!((later.cells, later.holes), (first.cells, 0));
    assert!(later.seconds < first.seconds, "{later:?}, where the first took {first:?}");
    assert!(later.ratio() <= 1.15, "{later:?}");
}

/// A cell that hands in what it has need not wait behind all others to go on.
#[test]
fn time_slices_cost_a_giant_little() {
    let estate = estate(200, 3, UNEVEN);
    let bound = Bound::of(&estate, SHARE);
    let seconds = [240, 100_000].map(|slice| {
        // A busy one.
        let worker =
            WorkerConfig { slice: Duration::from_secs(slice), concurrency: 16, cells: 48, ..setting(1).worker };
        simulate(&estate, &bound, &Setting { worker, ..setting(1) }).unwrap().seconds
    });
    assert!(seconds[0] <= 1.05 * seconds[1], "{seconds:?}");
}

#[test]
fn a_slice_takes_as_long_as_the_whole() {
    let estate = estate(120, 2, UNEVEN);
    let bound = Bound::of(&estate, SHARE);
    // Little room for calls, lest the giant alone decide.
    let worker = WorkerConfig { concurrency: 2, cells: 6, ..setting(2).worker };
    let whole = Setting { worker, ..setting(2) };
    let slice = Setting { slice: 2, ..whole.clone() };
    let [whole, slice] = [whole, slice].map(|setting| simulate(&estate, &bound, &setting).unwrap());
    let (seconds, calls) = (slice.seconds / whole.seconds, slice.calls as f64 / whole.calls as f64);
    assert!((0.9..=1.1).contains(&seconds), "{seconds}: {slice:?} of {whole:?}");
    assert!((0.8..=1.25).contains(&calls), "{calls}: {slice:?} of {whole:?}");
}

#[test]
#[ignore = "minutes: a thousand accounts in every region, on several numbers of workers"]
fn a_thousand_accounts_take_little_more_than_the_bound() {
    let estate = estate(1_000, 17, UNEVEN);
    for workers in [4, 16] {
        let (figures, _) = scan(&estate, workers);
        assert!(figures.ratio() <= 1.25, "{figures:?}");
        assert!(figures.assume_role * 10 <= figures.assume_role_least * 13, "{figures:?}");
    }
}
