//! Scans that cannot go on, and why.

use crate::{backing::Memory, failure::Failure};
use fleetscan_coordinator::fleet::{Waiting, waiting};

/// Whether every scan under way can go on.
pub async fn standing(memory: &Memory) -> Result<String, Failure> {
    judge(&waiting(memory.fleet.as_ref()).await?).map_err(Failure::failed)
}

fn judge(waiting: &[Waiting]) -> Result<String, String> {
    match waiting {
        [] => Ok("none of those under way waits for anything to be mended".to_owned()),
        some => {
            let each = some.iter().map(|one| {
                let why = one.why.trim_end_matches('.');
                format!("{} cannot go on since {}: {why}; it is tried again every few seconds.", one.scan, one.since)
            });
            Err(each.collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn a_scan_that_waits_for_its_results_is_told_with_the_reason() {
        assert!(judge(&[]).is_ok());
        let why = "the results cannot be reached now: SlowDown".to_owned();
        let one = Waiting { scan: "s-1".parse().expect("an id"), since: Timestamp::UNIX_EPOCH, why };
        let told = judge(&[one]).expect_err("it waits");
        assert!(told.contains("s-1 cannot go on since 1970-01-01T00:00:00Z: the results"), "{told}");
    }
}
