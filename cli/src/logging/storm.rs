//! Storms: the same line again and again is written a few times, then counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{Event, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

/// Lines of one place in the code that are written within a window.
const LINES: u64 = 20;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);

/// What one place in the code has said within the window.
struct Said {
    since: Instant,
    lines: u64,
    name: &'static str,
    place: String,
}

/// Lets so many lines a window pass, for each place in the code that logs: these are as many as the code has.
#[derive(Clone, Default)]
pub struct Storm {
    said: Arc<Mutex<HashMap<Identifier, Said>>>,
}

impl Storm {
    /// Counts from now on, and tells after each window what was held back.
    pub fn begin() -> Self {
        let storm = Self::default();
        let told = Arc::downgrade(&storm.said);
        std::thread::spawn(move || {
            while let Some(said) = told.upgrade() {
                let held = Self { said }.take_held_back();
                for (place, lines) in held {
                    tracing::warn!(place, lines, "log.storm: lines were held back");
                }
                std::thread::sleep(WINDOW);
            }
        });
        storm
    }

    fn passes(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = all.entry(metadata.callsite()).or_insert_with(|| Said {
            since: now,
            lines: 0,
            name: metadata.target(),
            place: metadata.line().map(|line| line.to_string()).unwrap_or_default(),
        });
        if now.duration_since(said.since) >= WINDOW && said.lines <= LINES {
            (said.since, said.lines) = (now, 0);
        }
        said.lines += 1;
        said.lines <= LINES
    }

    /// What was held back in windows that are over, by place; they begin anew.
    fn take_held_back(&self) -> Vec<(String, u64)> {
        let now = Instant::now();
        let mut all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let over = all.values_mut().filter(|said| said.lines > LINES && now.duration_since(said.since) >= WINDOW);
        over.map(|said| {
            let held = said.lines - LINES;
            (said.since, said.lines) = (now, 0);
            (format!("{}:{}", said.name, said.place), held)
        })
        .collect()
    }
}

impl<S> Filter<S> for Storm {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }
    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.passes(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use tracing::Subscriber;
    use tracing_subscriber::{Layer, layer::SubscriberExt as _};

    struct Counts(Arc<AtomicU64>);
    impl<S: Subscriber> Layer<S> for Counts {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_storm_of_one_line_leaves_the_others_alone() {
        let (written, storm) = (Arc::new(AtomicU64::new(0)), Storm::default());
        let subscriber = tracing_subscriber::registry().with(Counts(Arc::clone(&written)).with_filter(storm.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..1_000 {
                tracing::warn!(n, "store.away");
            }
            assert_eq!(written.load(Relaxed), LINES);
            tracing::warn!("another");
            assert_eq!(written.load(Relaxed), LINES + 1);
        });
        // The window is over: what was held back is told, and the line may be written again.
        for said in storm.said.lock().expect("said").values_mut() {
            said.since -= WINDOW;
        }
        let held = storm.take_held_back();
        assert_eq!(held.iter().map(|(_, lines)| *lines).collect::<Vec<_>>(), [1_000 - LINES]);
        assert_eq!(storm.take_held_back(), []);
    }
}
