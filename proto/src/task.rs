use crate::{AccountId, Cell, ScanId};
use serde::{Deserialize, Serialize};

/// Version of the wire format. A worker that meets a newer one gives the task back.
pub const WIRE_VERSION: u32 = 1;

/// How urgent a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The work of a fleet-wide scan.
    #[default]
    Normal,
    /// A newly connected account, or an operator's single-account scan.
    Urgent,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskKind {
    /// Assume the role, confirm the identity, list the enabled regions.
    Probe {
        /// Which account.
        account: AccountId,
    },
    /// Read one cell.
    Cell(Cell),
}

/// A message of the queue. It carries no credential, no ExternalId and no role ARN, and it may be lost: the store
/// knows what is still to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// [`WIRE_VERSION`] of the writer.
    pub version: u32,
    /// The scan it belongs to.
    pub scan: ScanId,
    /// What to do.
    #[serde(flatten)]
    pub kind: TaskKind,
    /// The generation in the store that this copy was published under; a copy of an older one does nothing.
    pub generation: u64,
    /// Attempts already charged (failures; not deferrals).
    pub attempt: u32,
    /// How urgent.
    #[serde(default)]
    pub lane: Lane,
    /// Executions of it that never came to an end, as far as its publisher knows: what it must be kept apart for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unfinished: u32,
    /// Seconds that the cell took in an earlier scan, where these were many; else 0. A busy worker lets its calls go first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Task {
    /// A task of the present wire version, never attempted.
    pub fn new(scan: ScanId, kind: TaskKind, generation: u64) -> Self {
        Self {
            version: WIRE_VERSION,
            scan,
            kind,
            generation,
            attempt: 0,
            lane: Lane::Normal,
            unfinished: 0,
            seconds: 0,
        }
    }
    /// The account it works on; tasks of one account prefer one worker.
    pub fn account(&self) -> &AccountId {
        match &self.kind {
            TaskKind::Probe { account } => account,
            TaskKind::Cell(cell) => &cell.account,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_format_is_flat_json_and_survives_a_round_trip() {
        let cell = Cell::new("111122223333".parse().expect("id"), "eu-west-1", "lambda");
        let task = Task::new("s-1".parse().expect("id"), TaskKind::Cell(cell), 3);
        let text = serde_json::to_string(&task).expect("json");
        assert_eq!(
            text,
            r#"{"version":1,"scan":"s-1","kind":"cell","account":"111122223333","region":"eu-west-1","service":"lambda","generation":3,"attempt":0,"lane":"normal"}"#
        );
        assert_eq!(serde_json::from_str::<Task>(&text).expect("json"), task);
    }
}
