//! Progress on stderr: drawn in place on a terminal, a plain line every few seconds elsewhere.

use crate::{
    numbers::{grouped, many, rate, time},
    terminal::Terminal,
};
use fleetscan_coordinator::{Phase, Progress};
use fleetscan_worker::Stats;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::VecDeque,
    io::Write,
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio::sync::watch;

const REDRAW: Duration = Duration::from_millis(250);
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Speeds are of so many looks: the last ten seconds.
const LOOKS: usize = 40;

/// The bar that is being drawn, for the log to be written above it.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn drawn() -> Option<ProgressBar> {
    DRAWN.lock().ok()?.clone()
}

/// Where the log goes: stderr, above the bar where one is drawn.
#[derive(Default)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match drawn() {
            Some(bar) => bar.suspend(|| std::io::stderr().write_all(bytes))?,
            None => std::io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes a line to stderr, above the bar where one is drawn.
pub fn note(line: &str) {
    // Nobody may be reading stderr; the work goes on all the same.
    let _ = writeln!(LogWriter, "{line}");
}

struct Look {
    at: Instant,
    done: u64,
    calls: u64,
}

/// One picture of the scan, in words.
struct Picture {
    cells: String,
    speed: String,
}

struct Pace {
    started: Instant,
    looks: VecDeque<Look>,
}

impl Pace {
    fn picture(&mut self, progress: &Progress, stats: Stats) -> Picture {
        let now = Instant::now();
        self.looks.push_back(Look { at: now, done: progress.done_cells(), calls: stats.calls });
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let (done, expected) = (progress.done_cells(), progress.expected_cells.max(progress.counts.cells));
        let about = if expected == progress.counts.cells { "" } else { "about " };
        let planned = progress.counts.accounts.get(&fleetscan_proto::ScanAccountState::Planned).copied().unwrap_or(0);
        let cells = match progress.phase {
            Phase::Reading => {
                let left = self.left(done, expected).map(|left| format!(" · about {} left", time(left)));
                format!(
                    "{} of {about}{} cells{} · {} of {} accounts · {}",
                    grouped(done),
                    grouped(expected),
                    left.unwrap_or_default(),
                    grouped(planned),
                    grouped(progress.accounts),
                    time(self.started.elapsed()),
                )
            }
            _ => format!("{} cells · checking results, writing ledger and manifest", grouped(done)),
        };
        let under_way = match progress.suspects {
            _ if progress.phase == Phase::Finalising => String::new(),
            _ if progress.breaker_open => " · many accounts deny us at once: none is marked revoked".to_owned(),
            0 => {
                let (calls, cells) = (many(stats.calls_in_flight, "call"), many(stats.cells_in_flight, "cell"));
                format!(" · under way: {calls}, {cells}")
            }
            suspects => format!(" · {} denied, to be confirmed", many(suspects, "account")),
        };
        let speed = format!(
            "{} calls/s · {} throttled · {}{under_way}",
            grouped(self.calls_a_second()),
            grouped(stats.throttled),
            many(stats.records, "resource"),
        );
        Picture { cells, speed }
    }

    fn calls_a_second(&self) -> u64 {
        match (self.looks.front(), self.looks.back()) {
            (Some(first), Some(last)) => {
                rate(last.calls - first.calls.min(last.calls), last.at.duration_since(first.at).as_secs_f64())
            }
            _ => 0,
        }
    }

    /// By the pace of the last seconds. While nothing ends there is no telling: the last cells are the longest.
    fn left(&self, done: u64, expected: u64) -> Option<Duration> {
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        let (took, new) = (last.at.duration_since(first.at), last.done.saturating_sub(first.done));
        if took < Duration::from_secs(3) || new == 0 || expected <= done {
            return None;
        }
        Some(took.mul_f64((expected - done) as f64 / new as f64)).filter(|left| left.as_secs() > 0)
    }
}

/// Shows progress until the scan has ended; dropping it clears what is drawn. `already`: for so long the scan has run.
pub async fn show(
    mut progress: watch::Receiver<Progress>,
    stats: impl Fn() -> Stats + Send,
    already: Duration,
    terminal: Terminal,
) {
    let started = Instant::now().checked_sub(already).unwrap_or_else(Instant::now);
    let mut pace = Pace { started, looks: VecDeque::new() };
    let _cleared = terminal.live.then(Drawing::begin);
    let mut redraw = tokio::time::interval(REDRAW);
    let mut last_line = Instant::now();
    loop {
        redraw.tick().await;
        let now = progress.borrow_and_update().clone();
        if now.phase == Phase::Ended {
            return;
        }
        let picture = pace.picture(&now, stats());
        if let Some(bar) = drawn() {
            bar.set_length(now.expected_cells.max(1));
            bar.set_position(now.done_cells());
            bar.set_message(picture.cells);
            bar.set_prefix(picture.speed);
        } else if last_line.elapsed() >= PLAIN_EVERY {
            last_line = Instant::now();
            note(&format!("{} · {}", picture.cells, picture.speed));
        }
    }
}

/// The bar, for as long as this lives.
struct Drawing;

impl Drawing {
    fn begin() -> Self {
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{bar:20.green/dim} {wide_msg}\n{prefix}") {
            bar.set_style(style.progress_chars("━━╌"));
        }
        if let Ok(mut drawn) = DRAWN.lock() {
            *drawn = Some(bar);
        }
        Self
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        let bar = DRAWN.lock().ok().and_then(|mut drawn| drawn.take());
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}
