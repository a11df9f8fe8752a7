//! An operator's wish that a scan ends now.

use crate::{
    ScanError,
    dispatch::PAGE,
    error::insist,
    scan::{Run, Tick},
};
use fleetscan_proto::{Outcome, ScanAccountState};
use tokio::time::Instant;

const REASON: &str = "the scan was cancelled by its operator";

impl Run<'_> {
    /// Workers have a moment to hand in what they have; then every cell without an outcome is cancelled, and so are
    /// the cells that accounts without an answer would have had.
    pub(crate) async fn cancel(&mut self) -> Result<Tick, ScanError> {
        self.outbox.clear();
        if self.cancelling.get_or_insert_with(Instant::now).elapsed() < self.options.cancel_grace {
            return Ok(Tick::GoOn);
        }
        let (store, scan) = (&self.parts.store, &self.spec.id);
        for state in [ScanAccountState::Waiting, ScanAccountState::Probed] {
            let mut after = None;
            loop {
                let page = insist!(self.options, store.scan_accounts(scan, state, after.as_ref(), PAGE))?;
                after = page.last().map(|row| row.account.clone());
                for row in &page {
                    if state == ScanAccountState::Waiting {
                        self.end_probe(row, Outcome::Cancelled, REASON).await?;
                    }
                    self.give_up(&row.account, Outcome::Cancelled, REASON).await?;
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        let now = self.parts.clock.now();
        insist!(self.options, store.close_cells(scan, None, Outcome::Cancelled, REASON, now))?;
        self.counts = insist!(self.options, store.counts(scan))?;
        Ok(if self.is_over() { Tick::Over } else { Tick::GoOn })
    }
}
