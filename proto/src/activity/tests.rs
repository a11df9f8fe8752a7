use super::*;
use std::collections::BTreeSet;

fn coverage(spans: &[(i64, i64)]) -> Coverage {
    spans.iter().map(|span| Span::from(*span)).collect::<Vec<_>>().into()
}

fn deed(at: i64) -> Principal {
    Principal {
        kind: "AssumedRole".into(),
        last: Deed { at, event: "RunInstances".into(), source: "ec2.amazonaws.com".into() },
        keys: BTreeMap::new(),
    }
}

#[test]
fn of_very_many_principals_few_are_held_and_it_is_told() {
    let mut activity = Activity::default();
    for at in 0..20 * MAX_PRINCIPALS as i64 {
        let last = Deed { at, event: "Do".into(), source: "x".into() };
        activity.note(&format!("p{at}"), Principal { kind: "IAMUser".into(), last, keys: BTreeMap::new() });
        assert!(activity.principals.len() <= 2 * MAX_PRINCIPALS);
    }
    let newest = 20 * MAX_PRINCIPALS as i64 - 1;
    assert_eq!(activity.principals[&format!("p{newest}")].last.at, newest);
    activity.settle(0);
    assert_eq!(activity.principals.len(), MAX_PRINCIPALS);
    assert_eq!(activity.left_out, Some(newest - MAX_PRINCIPALS as i64));
}

#[test]
fn spans_that_overlap_or_touch_become_one() {
    assert_eq!(coverage(&[(1, 2), (3, 4)]).spans(), [Span::new(1, 4)]);
    assert_eq!(coverage(&[(1, 2), (4, 5)]).spans(), [Span::new(1, 2), Span::new(4, 5)]);
    assert_eq!(coverage(&[(10, 20), (1, 2), (5, 9), (15, 30)]).spans(), [Span::new(1, 2), Span::new(5, 30)]);
    assert_eq!(coverage(&[(1, 2), (9, 10), (2, 9)]).spans(), [Span::new(1, 10)]);
    assert_eq!(coverage(&[(5, 4)]).spans(), [], "an empty span adds nothing");
}

#[test]
fn gaps_come_newest_first_and_end_with_what_they_are_asked_of() {
    let read = coverage(&[(10, 20), (30, 40)]);
    assert_eq!(read.gaps(Span::new(0, 50)), [Span::new(41, 50), Span::new(21, 29), Span::new(0, 9)]);
    assert_eq!(read.gaps(Span::new(15, 35)), [Span::new(21, 29)]);
    assert_eq!(read.gaps(Span::new(12, 18)), []);
    assert_eq!(read.gaps(Span::new(22, 25)), [Span::new(22, 25)]);
    assert_eq!(read.gaps(Span::new(60, 70)), [Span::new(60, 70)]);
    assert_eq!(read.gaps(Span::new(1, 5)), [Span::new(1, 5)]);
    assert_eq!(Coverage::default().gaps(Span::new(5, 4)), []);
}

/// Every coverage of few seconds, against a set of seconds.
#[test]
fn any_sequence_of_spans_is_the_set_of_their_seconds() {
    let mut seed = 7_u64;
    let mut draw = |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(seed >> 33).unwrap_or_default() % below
    };
    for _ in 0..2_000 {
        let (mut read, mut seconds) = (Coverage::default(), BTreeSet::new());
        for _ in 0..draw(7) {
            let (from, length) = (draw(40), draw(8));
            read.add(Span::new(from, from + length - 1));
            seconds.extend(from..from + length);
        }
        let oldest = draw(12);
        read.forget_before(oldest);
        seconds.retain(|second| *second >= oldest);
        let told: Vec<i64> = read.spans().iter().flat_map(|span| span.from..=span.to).collect();
        assert_eq!(told, seconds.iter().copied().collect::<Vec<_>>());
        assert!(read.spans().windows(2).all(|pair| pair[0].to + 1 < pair[1].from), "{read:?}");
        let within = Span::new(draw(20), draw(50));
        let lacking: BTreeSet<i64> = read.gaps(within).iter().flat_map(|gap| gap.from..=gap.to).collect();
        let expected: BTreeSet<i64> = (within.from..=within.to).filter(|second| !seconds.contains(second)).collect();
        assert_eq!(lacking, expected, "{read:?} within {within:?}");
    }
}

#[test]
fn too_many_spans_cost_the_oldest() {
    let mut read = Coverage::default();
    for n in 0..=MAX_SPANS as i64 {
        read.add(Span::new(n * 10, n * 10 + 1));
    }
    assert_eq!(read.spans().len(), MAX_SPANS);
    assert_eq!(read.spans()[0], Span::new(10, 11));
}

#[test]
fn merging_in_any_order_and_again_comes_to_the_same() {
    let scan = |text: &str| text.parse::<ScanId>().expect("an id");
    let mut one = Activity { read: coverage(&[(1, 5)]), ..Activity::default() };
    one.note("a", Principal { keys: [("AKIA1".into(), 3)].into(), ..deed(3) });
    one.spent.insert(scan("s-1"), 20);
    let mut two = Activity { read: coverage(&[(6, 9)]), left_out: Some(1), ..Activity::default() };
    two.note("a", Principal { keys: [("AKIA1".into(), 7), ("AKIA2".into(), 6)].into(), ..deed(7) });
    two.note("b", deed(6));
    two.spent.insert(scan("s-1"), 30);
    let merged = |parts: &[&Activity]| {
        let mut all = Activity::default();
        parts.iter().for_each(|part| all.merge(part));
        all
    };
    let all = merged(&[&one, &two]);
    assert_eq!(merged(&[&two, &one, &two, &one]), all);
    assert_eq!(all.read.spans(), [Span::new(1, 9)]);
    assert_eq!((all.principals["a"].last.at, all.principals["a"].keys["AKIA1"]), (7, 7));
    assert_eq!((all.spent[&scan("s-1")], all.left_out), (30, Some(1)));
    let text = serde_json::to_string(&all).expect("writes");
    assert_eq!(serde_json::from_str::<Activity>(&text).expect("reads"), all);
}

#[test]
fn what_is_old_falls_out() {
    let mut activity = Activity { read: coverage(&[(1, 50)]), left_out: Some(10), ..Activity::default() };
    activity.note("old", deed(19));
    activity.note("new", Principal { keys: [("AKIA1".into(), 5), ("AKIA2".into(), 30)].into(), ..deed(30) });
    activity.settle(20);
    assert_eq!(activity.read.spans(), [Span::new(20, 50)]);
    assert_eq!(activity.principals.keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(activity.principals["new"].keys.keys().collect::<Vec<_>>(), ["AKIA2"]);
    assert_eq!(activity.left_out, None);
}

#[test]
fn of_too_many_principals_those_stay_that_acted_last_and_it_is_told() {
    let mut activity = Activity::default();
    for n in 0..MAX_PRINCIPALS as i64 + 3 {
        activity.note(&format!("role-{n}"), deed(n));
    }
    activity.settle(0);
    assert_eq!(activity.principals.len(), MAX_PRINCIPALS);
    assert_eq!(activity.left_out, Some(2));
    assert!(!activity.principals.contains_key("role-2") && activity.principals.contains_key("role-3"));
}
