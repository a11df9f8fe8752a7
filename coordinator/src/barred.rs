//! Accounts that an operator pauses or disconnects in the middle of a scan.

use crate::{ScanError, dispatch::PAGE, error::insist, scan::Run};
use fleetscan_proto::{AccountId, AccountState, Outcome, ScanAccountState};

/// Why their cells ended.
pub(crate) const REASON: &str = "an operator paused or disconnected the account";

/// Whether it is by an operator's wish that nothing is read there.
pub(crate) fn is_an_operators(state: AccountState) -> bool {
    matches!(state, AccountState::Paused | AccountState::Disconnected)
}

impl Run<'_> {
    /// Ends what is left of the scan in accounts that were paused or disconnected since the last look: workers stop what
    /// they have in work by themselves, and would be handed the rest. On one machine nobody else has the store meanwhile.
    pub(crate) async fn heed_operators(&mut self) -> Result<(), ScanError> {
        let Some(link) = &self.parts.fleet else { return Ok(()) };
        // Read off before the statuses: what changes in between is looked at again.
        let version = *link.barred.borrow();
        if self.barred_version == Some(version) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = insist!(self.options, self.parts.store.account_statuses(after.as_ref(), PAGE))?;
            for status in page.iter().filter(|status| is_an_operators(status.state)) {
                self.leave_alone(&status.account).await?;
            }
            if page.len() < PAGE {
                break;
            }
            after = page.last().map(|status| status.account.clone());
        }
        self.barred_version = Some(version);
        Ok(())
    }

    pub(crate) async fn leave_alone(&mut self, account: &AccountId) -> Result<(), ScanError> {
        let (store, scan) = (&self.parts.store, &self.spec.id);
        let Some(row) = insist!(self.options, store.scan_account(scan, account))? else { return Ok(()) };
        if row.state == ScanAccountState::Planned {
            let at = self.parts.clock.now();
            insist!(self.options, store.close_cells(scan, Some(account), Outcome::Cancelled, REASON, at))?;
        } else {
            // One that has answered already is not let in.
            self.end_probe(&row, Outcome::Cancelled, REASON).await?;
        }
        insist!(self.options, self.parts.store.close_denial(scan, account))?;
        self.suspects.clear(account);
        Ok(())
    }
}
