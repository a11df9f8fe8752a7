use crate::{ScanError, dispatch::PAGE, error::insist, scan::Run};
use fleetscan_proto::{Outcome, ScanAccountState};

const REASON: &str = "the scan's deadline ran out";

impl Run<'_> {
    /// Past the deadline: nothing new begins, and what has no outcome gets one. Called at each tick until all have.
    pub(crate) async fn end_by_deadline(&mut self) -> Result<(), ScanError> {
        self.outbox.clear();
        self.leave_all_unconfirmed().await?;
        let (store, scan, now) = (&self.parts.store, &self.spec.id, self.parts.clock.now());
        let closed = insist!(self.options, store.close_cells(scan, None, Outcome::ThrottledOut, REASON, now))?;
        let waiting = insist!(self.options, store.scan_accounts(scan, ScanAccountState::Waiting, None, PAGE))?;
        if closed > 0 || !waiting.is_empty() {
            tracing::warn!(cells = closed, accounts = waiting.len(), "{REASON}");
        }
        for row in waiting {
            self.end_probe(&row, Outcome::ThrottledOut, REASON).await?;
        }
        Ok(())
    }
}
