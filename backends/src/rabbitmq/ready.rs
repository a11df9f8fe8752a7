use fleetscan_proto::{AccountId, Lane, Task};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// A task that was fetched and not handed out.
#[derive(Debug)]
pub(super) struct Fetched {
    pub task: Task,
    pub redeliveries: u32,
    pub shard: u16,
    /// The broker's name for the delivery, on the present channel.
    pub delivery: u64,
    pub since: Instant,
}

/// What a consumer sees ahead: urgent tasks first, and the accounts of the others take turns.
#[derive(Debug, Default)]
pub(super) struct Ready {
    urgent: VecDeque<Fetched>,
    accounts: HashMap<AccountId, VecDeque<Fetched>>,
    turns: VecDeque<AccountId>,
}

impl Ready {
    pub fn push(&mut self, fetched: Fetched) {
        if fetched.task.lane == Lane::Urgent {
            return self.urgent.push_back(fetched);
        }
        let account = fetched.task.account().clone();
        let line = self.accounts.entry(account.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(account);
        }
        line.push_back(fetched);
    }

    pub fn pop(&mut self) -> Option<Fetched> {
        if let Some(fetched) = self.urgent.pop_front() {
            return Some(fetched);
        }
        let account = self.turns.pop_front()?;
        let line = self.accounts.get_mut(&account)?;
        let fetched = line.pop_front()?;
        if line.is_empty() {
            self.accounts.remove(&account);
        } else {
            self.turns.push_back(account);
        }
        Some(fetched)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fetched> {
        self.urgent.iter().chain(self.accounts.values().flatten())
    }

    /// Takes out what fulfils the condition.
    pub fn take(&mut self, condition: impl Fn(&Fetched) -> bool) -> Vec<Fetched> {
        if !self.iter().any(&condition) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        let mut kept = Ready::default();
        while let Some(fetched) = self.pop() {
            if condition(&fetched) { taken.push(fetched) } else { kept.push(fetched) }
        }
        *self = kept;
        taken
    }

    /// Takes out what lies here for longer than that.
    pub fn take_older(&mut self, age: Duration) -> Vec<Fetched> {
        self.take(|fetched| fetched.since.elapsed() >= age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::{Cell, TaskKind};

    fn fetched(account: u64, delivery: u64, lane: Lane) -> Fetched {
        let id: AccountId = format!("{account:012}").parse().expect("an id");
        let kind = TaskKind::Cell(Cell::new(id, "eu-west-1", "lambda"));
        let task = Task { lane, ..Task::new("s-1".parse().expect("an id"), kind, 1) };
        Fetched { task, redeliveries: 0, shard: u16::try_from(account).unwrap_or(0), delivery, since: Instant::now() }
    }

    #[test]
    fn urgent_ones_come_first_and_accounts_take_turns_also_after_some_were_taken_out() {
        let mut ready = Ready::default();
        for (delivery, account) in [1, 1, 1, 2, 2, 3, 3].into_iter().enumerate() {
            ready.push(fetched(account, delivery as u64, Lane::Normal));
        }
        ready.push(fetched(4, 7, Lane::Urgent));
        let taken = ready.take(|fetched| fetched.shard == 2);
        assert_eq!(taken.iter().map(|fetched| fetched.delivery).collect::<Vec<_>>(), [3, 4]);
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|fetched| fetched.delivery).collect();
        assert_eq!(order, [7, 0, 5, 1, 6, 2]);
    }
}
