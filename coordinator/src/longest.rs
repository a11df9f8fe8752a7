//! Cells that took the longest in earlier scans. Their accounts go first, and in a busy worker their calls do, lest a scan
//! end with waiting for one that was begun last, or got no more of a worker than those that are soon done.

use fleetscan_proto::{AccountId, Cell, Fleet, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The note's name.
const NOTE: &str = "longest";
/// Cells that are remembered.
const MOST: usize = 1_024;
/// Seconds that a cell takes at least, for it to be remembered: all others go by quickly, and their order is all the same.
const LEAST: u32 = 60;
/// By how much what was known of a cell is divided when it took less time. A scan of few operations says little of one of all.
const FADES: u32 = 2;
/// Days after which a cell is forgotten that no scan has had: its account is likely gone.
const KEPT: i64 = 45;

/// Which cells take long. What is known stands in a note of the store's, for scans to come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Longest {
    /// By account and `region/service`.
    accounts: BTreeMap<AccountId, BTreeMap<String, Known>>,
}

/// Seconds, and the day of the last scan that had the cell, counted from 1970.
type Known = (u32, i64);

impl Longest {
    /// What earlier scans found.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(notes: &Arc<dyn Fleet>) -> Result<Self, StoreError> {
        let text = notes.note(NOTE).await?;
        // What another version wrote, and this one cannot read, is found anew.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Keeps it for scans to come, without what no scan has had for long.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&mut self, notes: &Arc<dyn Fleet>, now: Timestamp) -> Result<(), StoreError> {
        let oldest = day(now) - KEPT;
        self.accounts.retain(|_, cells| {
            cells.retain(|_, (_, seen)| *seen >= oldest);
            !cells.is_empty()
        });
        let text = serde_json::to_string(&*self).map_err(|error| StoreError::Refused(error.to_string()))?;
        notes.keep_note(NOTE, Some(&text)).await
    }

    /// In a scan that ends now, a cell took so many seconds.
    pub fn took(&mut self, cell: &Cell, seconds: f64, now: Timestamp) {
        // As many as fit; nothing takes so long.
        let took = seconds.clamp(0.0, f64::from(u32::MAX)).round() as u32;
        let known = self.of(cell);
        let seconds = took.max(known / FADES);
        if seconds < LEAST {
            if known > 0 {
                self.forget(&cell.account, &place(cell));
            }
            return;
        }
        self.accounts.entry(cell.account.clone()).or_default().insert(place(cell), (seconds, day(now)));
        if self.accounts.values().map(BTreeMap::len).sum::<usize>() > MOST {
            self.forget_the_shortest();
        }
    }

    /// Seconds that a cell takes; 0 where it is not one of the longest.
    pub(crate) fn of(&self, cell: &Cell) -> u32 {
        self.accounts.get(&cell.account).and_then(|cells| cells.get(&place(cell))).map_or(0, |(seconds, _)| *seconds)
    }

    /// The accounts of the longest cells, in their order.
    pub(crate) fn in_order(&self) -> Vec<AccountId> {
        let longest =
            |cells: &BTreeMap<String, Known>| cells.values().map(|(seconds, _)| *seconds).max().unwrap_or_default();
        let mut order: Vec<(&AccountId, u32)> = self.accounts.iter().map(|(id, cells)| (id, longest(cells))).collect();
        order.sort_by_key(|(_, seconds)| std::cmp::Reverse(*seconds));
        order.into_iter().map(|(id, _)| id.clone()).collect()
    }

    fn forget(&mut self, account: &AccountId, place: &str) {
        let Some(cells) = self.accounts.get_mut(account) else { return };
        cells.remove(place);
        if cells.is_empty() {
            self.accounts.remove(account);
        }
    }

    fn forget_the_shortest(&mut self) {
        let all =
            self.accounts.iter().flat_map(|(id, cells)| cells.iter().map(move |(place, known)| (id, place, known.0)));
        let shortest = all.min_by_key(|(_, _, seconds)| *seconds).map(|(id, place, _)| (id.clone(), place.clone()));
        if let Some((account, place)) = shortest {
            self.forget(&account, &place);
        }
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

fn place(cell: &Cell) -> String {
    format!("{}/{}", cell.region, cell.service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_backends::memory::MemoryStore;

    fn id(number: usize) -> AccountId {
        format!("{number:012}").parse().expect("an id")
    }
    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_770_000_000 + day * 86_400).expect("a time")
    }
    fn cell(number: usize, service: &str) -> Cell {
        Cell::new(id(number), "eu-west-1", service)
    }

    #[test]
    fn the_longest_are_remembered_and_the_quick_are_not() {
        let mut longest = Longest::default();
        for number in 100..100 + 2 * MOST {
            longest.took(&cell(number, "lambda"), number as f64, at(0));
        }
        let expected: Vec<AccountId> = (100 + MOST..100 + 2 * MOST).rev().map(id).collect();
        assert_eq!(longest.in_order(), expected);
        let mut quick = Longest::default();
        quick.took(&cell(1, "lambda"), f64::from(LEAST) - 1.0, at(0));
        assert_eq!(quick, Longest::default());
    }

    #[test]
    fn an_account_is_as_long_as_its_longest_cell() {
        let mut longest = Longest::default();
        longest.took(&cell(1, "lambda"), 100.0, at(0));
        longest.took(&cell(2, "sns"), 300.0, at(0));
        longest.took(&cell(1, "ecs"), 500.0, at(0));
        assert_eq!(longest.in_order(), [id(1), id(2)]);
        assert_eq!((longest.of(&cell(1, "lambda")), longest.of(&cell(2, "lambda"))), (100, 0));
    }

    #[test]
    fn what_was_long_once_fades_by_and_by() {
        let mut longest = Longest::default();
        longest.took(&cell(1, "lambda"), 400.0, at(0));
        longest.took(&cell(2, "lambda"), 190.0, at(0));
        longest.took(&cell(1, "lambda"), 1.0, at(0));
        assert_eq!(longest.in_order(), [id(1), id(2)], "one quick scan, of few operations perhaps, forgets nothing");
        longest.took(&cell(1, "lambda"), 1.0, at(0));
        assert_eq!(longest.in_order(), [id(2), id(1)]);
        longest.took(&cell(1, "lambda"), 1.0, at(0));
        assert_eq!(longest.in_order(), [id(2)]);
    }

    #[tokio::test]
    async fn it_is_kept_and_what_cannot_be_read_is_nothing() {
        let notes: Arc<dyn Fleet> = Arc::new(MemoryStore::default());
        assert_eq!(Longest::read(&notes).await.expect("reads"), Longest::default());
        let mut longest = Longest::default();
        longest.took(&cell(7, "sns"), 1234.6, at(0));
        longest.keep(&notes, at(1)).await.expect("keeps");
        assert_eq!(Longest::read(&notes).await.expect("reads"), longest);
        longest.took(&cell(8, "sns"), 500.0, at(30));
        longest.keep(&notes, at(50)).await.expect("keeps");
        assert_eq!(
            Longest::read(&notes).await.expect("reads").in_order(),
            [id(8)],
            "account 7 was in no scan for long"
        );
        notes.keep_note(NOTE, Some("[\"of another version\"]")).await.expect("keeps");
        assert_eq!(Longest::read(&notes).await.expect("reads"), Longest::default());
    }
}
