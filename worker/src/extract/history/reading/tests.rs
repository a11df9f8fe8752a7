use super::*;
use serde_json::json;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

const NOW: i64 = 2_000_000;
const LATE: i64 = 900;
const WINDOW: Span = Span { from: NOW - 100_000, to: NOW };
const PAGE: usize = 5;

/// CloudTrail with these events, a page a second.
struct Trail {
    events: RefCell<Vec<(i64, &'static str)>>,
    memory: RefCell<Activity>,
    asked: RefCell<Vec<Span>>,
    pages: Cell<usize>,
    /// Halts before this page.
    halts_at: Cell<usize>,
    now: Cell<i64>,
}

impl Trail {
    fn new(events: &[(i64, &'static str)]) -> Self {
        Self {
            events: RefCell::new(events.to_vec()),
            memory: RefCell::default(),
            asked: RefCell::default(),
            pages: Cell::new(0),
            halts_at: Cell::new(usize::MAX),
            now: Cell::new(NOW),
        }
    }

    async fn scan(&self, scan: &str, limit: u64) -> Result<(End, Activity, Vec<Span>), Halt> {
        let scan: ScanId = scan.parse().expect("an id");
        let window = Span::new(self.now.get() - 100_000, self.now.get());
        let terms = Terms { scan: &scan, limit: Duration::from_secs(limit), window, late: LATE };
        let known = self.memory.borrow().clone();
        let mut reading = Reading::new(terms, known);
        let (end, known) = reading.run(self).await?;
        Ok((end, known, reading.lacking()))
    }

    fn read(&self) -> Vec<Span> {
        self.memory.borrow().read.spans().to_vec()
    }
}

impl Source for Trail {
    fn is_own(&self, principal: &str) -> bool {
        principal == "own"
    }

    async fn page(&self, span: Span, token: Option<&str>) -> Result<Result<EventPage, Refusal>, Halt> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.pages.set(self.pages.get() + 1);
        if token.is_none() {
            self.asked.borrow_mut().push(span);
        }
        let mut found = self.events.borrow().clone();
        found.retain(|(at, _)| (span.from..=span.to).contains(at));
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let from: usize = token.map_or(0, |token| token.parse().expect("a token"));
        let next = (from + PAGE < found.len()).then(|| (from + PAGE).to_string());
        let event = |(at, who): &(i64, &str)| {
            let identity = json!({ "type": "IAMUser", "arn": who });
            (*at, Event::parse(&json!({ "eventName": "Do", "userIdentity": identity }).to_string()))
        };
        Ok(Ok(EventPage { events: found.iter().skip(from).take(PAGE).map(event).collect(), next }))
    }
    async fn remember(&self, news: Activity) -> Result<Activity, Halt> {
        self.memory.borrow_mut().merge(&news);
        Ok(self.memory.borrow().clone())
    }
    fn now(&self) -> i64 {
        self.now.get()
    }
    fn must_halt(&self) -> bool {
        self.pages.get() >= self.halts_at.get()
    }
}

fn last(known: &Activity) -> BTreeMap<&str, i64> {
    known.principals.iter().map(|(id, principal)| (id.as_str(), principal.last.at)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_second_scan_reads_only_what_is_new_or_was_too_young() {
    let trail = Trail::new(&[(NOW - 50_000, "a"), (NOW - 40_000, "b"), (NOW - 100, "b")]);
    let (end, known, lacking) = trail.scan("s-1", 300).await.expect("reads");
    assert_eq!((end, lacking), (End::Whole, vec![]));
    assert_eq!(last(&known), BTreeMap::from([("a", NOW - 50_000), ("b", NOW - 100)]));
    assert_eq!(trail.read(), [Span::new(WINDOW.from, NOW - LATE)], "younger events may still be told");
    // Told late, as of a time that was read already.
    trail.events.borrow_mut().push((NOW - 300, "c"));
    trail.now.set(NOW + 3_600);
    let (end, known, _) = trail.scan("s-2", 300).await.expect("reads");
    assert_eq!((end, known.principals.len()), (End::Whole, 3));
    assert_eq!(trail.asked.borrow().as_slice(), [WINDOW, Span::new(NOW - LATE + 1, NOW + 3_600)]);
    assert_eq!(trail.read(), [Span::new(WINDOW.from, NOW + 3_600 - LATE)]);
}

#[tokio::test(start_paused = true)]
async fn events_of_one_second_on_two_pages_are_not_lost_when_the_reading_is_cut_between_them() {
    // Seven events of one second: the first page ends within them.
    let mut events = vec![(NOW - 10_000, "new")];
    events.extend(["a", "b", "c", "d", "e", "f", "g"].map(|who| (NOW - 20_000, who)));
    let trail = Trail::new(&events);
    trail.halts_at.set(1);
    assert!(matches!(trail.scan("s-1", 300).await, Err(Halt::Yield)));
    assert_eq!(trail.read(), [Span::new(NOW - 20_000 + 1, NOW - LATE)], "the second itself is not read whole");
    trail.halts_at.set(usize::MAX);
    let (end, known, _) = trail.scan("s-1", 300).await.expect("reads");
    assert_eq!((end, known.principals.len()), (End::Whole, 8));
    assert_eq!(trail.read(), [Span::new(WINDOW.from, NOW - LATE)]);
}

#[tokio::test(start_paused = true)]
async fn a_scan_whose_time_is_over_says_what_is_lacking_and_later_ones_fill_it_newest_first() {
    let events: Vec<(i64, &'static str)> = (1..=100).map(|n| (NOW - n * 900, "a")).collect();
    let trail = Trail::new(&events);
    let (end, _, lacking) = trail.scan("s-1", 4).await.expect("reads");
    assert_eq!((end, trail.pages.get()), (End::Late, 4), "a page takes a second");
    let oldest = NOW - 4 * PAGE as i64 * 900;
    assert_eq!(lacking, [Span::new(WINDOW.from, oldest)]);
    // Later: what is new first, then the gap.
    trail.now.set(NOW + 3_000);
    let (end, _, lacking) = trail.scan("s-2", 4).await.expect("reads");
    assert_eq!((end, lacking.len()), (End::Late, 1));
    let asked = trail.asked.borrow().clone();
    assert_eq!(asked[1..], [Span::new(NOW - LATE + 1, NOW + 3_000), Span::new(NOW + 3_000 - 100_000, oldest)]);
    assert!(lacking[0].to < oldest, "{lacking:?}");
    let (end, known, lacking) = trail.scan("s-3", 300).await.expect("reads");
    assert_eq!((end, lacking, last(&known)), (End::Whole, vec![], BTreeMap::from([("a", NOW - 900)])));
    let before = trail.pages.get();
    let (end, ..) = trail.scan("s-4", 300).await.expect("reads");
    assert_eq!((end, trail.pages.get() - before), (End::Whole, 1), "the last quarter of an hour, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_scan_is_one_for_all_its_executions() {
    let events: Vec<(i64, &'static str)> = (1..=100).map(|n| (NOW - n * 900, "a")).collect();
    let trail = Trail::new(&events);
    for halts_at in [2, 4] {
        trail.halts_at.set(halts_at);
        assert!(matches!(trail.scan("s-1", 5).await, Err(Halt::Yield)));
    }
    trail.halts_at.set(usize::MAX);
    let (end, ..) = trail.scan("s-1", 5).await.expect("reads");
    assert_eq!((end, trail.pages.get()), (End::Late, 5), "four seconds were spent, and one was left");
    assert_eq!(trail.scan("s-2", 300).await.expect("reads").0, End::Whole, "another scan has its own");
}

#[tokio::test(start_paused = true)]
async fn a_killed_execution_costs_at_most_the_pages_since_the_last_that_were_remembered() {
    let events: Vec<(i64, &'static str)> = (1..=1_000).map(|n| (NOW - n * 90, "a")).collect();
    let trail = Trail::new(&events);
    {
        let scan = trail.scan("s-1", 300);
        // Killed after forty pages.
        assert!(tokio::time::timeout(Duration::from_millis(40_500), scan).await.is_err());
    }
    let thirty = i64::from(REMEMBERED_EVERY) * PAGE as i64;
    assert_eq!(trail.read(), [Span::new(NOW - thirty * 90 + 1, NOW - LATE)]);
    let before = trail.pages.get();
    let (end, known, _) = trail.scan("s-1", 300).await.expect("reads");
    assert_eq!((end, last(&known)["a"]), (End::Whole, NOW - 90));
    let read_again = trail.pages.get() - before;
    assert!(
        (170..=174).contains(&read_again),
        "{read_again} pages: those that were not remembered, and the young ones"
    );
}
