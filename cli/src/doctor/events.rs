//! Those who are told of events: do they take what they are told?

use crate::{
    backing::Memory,
    failure::Failure,
    numbers::{grouped, many},
};
use fleetscan_coordinator::events::{ReceiverStanding, receivers};
use jiff::{SignedDuration, Timestamp};

/// A receiver that fails for no longer than this is being restarted, perhaps.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// An event that was given up is a matter for the doctor for so long.
const RECENT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// How they stand, or which is to be mended.
pub async fn standing(memory: &Memory) -> Result<String, Failure> {
    let all = receivers(memory.fleet.as_ref()).await?;
    let newest = memory.events.newest_event().await?;
    judge(&all, newest, Timestamp::now()).map_err(Failure::failed)
}

fn judge(all: &[ReceiverStanding], newest: u64, now: Timestamp) -> Result<String, String> {
    if all.is_empty() {
        return Ok("nobody is told of them (a coordinator's --receivers names who is)".to_owned());
    }
    let mut wrong = Vec::new();
    for one in all {
        if let Some(failing) = &one.failing
            && now.duration_since(failing.since) > PATIENCE
        {
            let pending = many(newest.saturating_sub(one.told_up_to), "event");
            wrong.push(format!(
                "{} at {} takes nothing since {}: {} ({pending} waiting). See `fleetscan events test`.",
                one.name, one.place, failing.since, failing.problem
            ));
        }
        let recent = one.undelivered.iter().filter(|event| now.duration_since(event.given_up_at) < RECENT).count();
        if recent > 0 {
            let events = many(recent as u64, "event");
            wrong.push(format!("{} never took {events}: `fleetscan events receivers` lists them.", one.name));
        }
    }
    match wrong.is_empty() {
        true => {
            let taken: Vec<String> =
                all.iter().map(|one| format!("{} took {}", one.name, grouped(one.delivered))).collect();
            Ok(taken.join("; "))
        }
        false => Err(wrong.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_coordinator::events::{Failing, Undelivered};

    #[test]
    fn a_receiver_that_takes_nothing_is_told_and_one_that_restarts_is_not() {
        let now = Timestamp::from_second(1_000_000).expect("time");
        let ago = |seconds: i64| Timestamp::from_second(1_000_000 - seconds).expect("time");
        let failing = |since| {
            let (event, problem) = ("evt_1".to_owned(), "it answers 503".to_owned());
            Some(Failing { event, since, tries: 3, refusals: 0, problem })
        };
        let well = ReceiverStanding { name: "siem".into(), delivered: 1_234, ..ReceiverStanding::default() };
        assert_eq!(
            judge(&[], 0, now).expect("well"),
            "nobody is told of them (a coordinator's --receivers names who is)"
        );
        assert_eq!(judge(std::slice::from_ref(&well), 9, now).expect("well"), "siem took 1,234");
        let restarts = ReceiverStanding { failing: failing(ago(60)), ..well.clone() };
        assert!(judge(&[restarts], 9, now).is_ok());
        let away = ReceiverStanding { failing: failing(ago(600)), told_up_to: 7, ..well.clone() };
        let why = judge(&[well.clone(), away], 9, now).expect_err("away");
        assert!(why.contains("503") && why.contains("2 events waiting"), "{why}");
        let undelivered = Undelivered {
            event: "evt_1".into(),
            kind: "account.revoked".into(),
            timestamp: ago(9),
            given_up_at: ago(5),
            tries: 9,
            problem: "it answers 503".into(),
        };
        let lost = ReceiverStanding { undelivered: [undelivered].into(), given_up: 1, ..well };
        assert!(judge(&[lost], 9, now).expect_err("lost").contains("never took 1 event"));
    }
}
