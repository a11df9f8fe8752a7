//! An account's probe as a task: what it found, or why it must be asked again.

use super::{TaskError, Worker, persist, task::Done};
use crate::{
    guard::Guard,
    probe::{NotNow, probe},
};
use fleetscan_proto::{AccountId, AssumeDenial, Outcome, ProbeFailure, ScanId};
use std::time::Duration;

/// How long a probe waits that could not be done.
const PROBE_WAIT: Duration = Duration::from_secs(15);
/// Probes of an account that AWS answered with an error, after which its cells are failed.
const PROBE_ATTEMPTS: u32 = 3;

impl Worker {
    pub(super) async fn probe(
        &self,
        scan: &ScanId,
        account: &AccountId,
        generation: u64,
        attempt: u32,
        guard: &Guard,
    ) -> Result<Done, TaskError> {
        let store = self.parts.store.as_ref();
        let Some(spec) = persist!(self, self.parts.grants.account(account))? else {
            let failure = self.probe_failure(Outcome::Cancelled, "the account's grant was removed".into());
            persist!(self, store.record_probe(scan, account, generation, Err(failure.clone())))?;
            return Ok(Done::Ack);
        };
        let visit = persist!(self, self.accounts.enter(store, account, guard.hold.begins_empty()))?;
        let found = match probe(&self.caller, visit.context(), &spec, guard.clone()).await {
            Ok(found) => found,
            Err(_) if self.draining.is_cancelled() => return Ok(Done::Release),
            Err(NotNow::Ours(why)) => {
                tracing::warn!(error = why, "probe.not_now");
                return Ok(Done::Defer(generation, PROBE_WAIT));
            }
            Err(NotNow::OurPolicy { code, request_id, tries }) => {
                tracing::warn!(
                    code,
                    aws.request_id = request_id,
                    "probe.not_now: our own identity may not assume the role"
                );
                let (scan, account, at) = (scan.clone(), account.clone(), self.parts.clock.now());
                let doing = AssumeDenial::PROBE.to_owned();
                let denial = AssumeDenial { scan, account, at, code, request_id, tries, doing, our_fault: true };
                persist!(self, store.open_denial(&denial))?;
                return Ok(Done::Defer(generation, PROBE_WAIT));
            }
            Err(NotNow::Failing(why)) if attempt + 1 < PROBE_ATTEMPTS => {
                tracing::warn!(error = why, "probe.failing");
                return Ok(Done::Retry(PROBE_WAIT));
            }
            Err(NotNow::Failing(why)) => {
                Err(self.probe_failure(Outcome::Failed, format!("the probe failed {PROBE_ATTEMPTS} times: {why}")))
            }
        };
        persist!(self, store.record_probe(scan, account, generation, found.clone()))?;
        Ok(Done::Ack)
    }

    fn probe_failure(&self, outcome: Outcome, reason: String) -> ProbeFailure {
        ProbeFailure { outcome, reason, code: None, request_id: None, tries: 0, at: self.parts.clock.now() }
    }
}
