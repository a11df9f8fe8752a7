//! What a worker keeps of each account that it works on, for as long as it does.

use crate::{limiter::AccountBuckets, session::Sessions};
use fleetscan_proto::{AccountId, LearnedFactor, Store, StoreError, catalogue::Service};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// An account in work.
#[derive(Debug)]
pub struct AccountContext {
    /// Its limiters.
    pub buckets: AccountBuckets,
    users: Mutex<usize>,
}

impl AccountContext {
    /// Which account.
    pub fn id(&self) -> &AccountId {
        self.buckets.account()
    }
}

/// The accounts that a worker works on at present.
#[derive(Debug)]
pub struct Accounts {
    share: f64,
    sessions: Arc<Sessions>,
    open: Mutex<HashMap<AccountId, Arc<AccountContext>>>,
    /// Accounts that were put off keep their limiters for a while: theirs are not full, and neither are AWS's.
    rested: Mutex<Rested>,
}

/// The most accounts whose limiters are kept while none of their tasks is in work.
const MAX_RESTED: usize = 256;

/// Accounts none of whose tasks is in work. Those that have been so the longest are forgotten first: they are likeliest done.
#[derive(Debug, Default)]
struct Rested {
    accounts: HashMap<AccountId, (u64, Arc<AccountContext>)>,
    /// Which of them came to rest when.
    order: BTreeMap<u64, AccountId>,
    count: u64,
}

impl Rested {
    fn take(&mut self, account: &AccountId) -> Option<Arc<AccountContext>> {
        let (number, context) = self.accounts.remove(account)?;
        self.order.remove(&number);
        Some(context)
    }

    /// Answers who is forgotten for it.
    fn add(&mut self, context: Arc<AccountContext>) -> Option<AccountId> {
        let forgotten = if self.accounts.len() < MAX_RESTED { None } else { self.order.pop_first() };
        let forgotten = forgotten.map(|(_, id)| id);
        if let Some(id) = &forgotten {
            self.accounts.remove(id);
        }
        self.count += 1;
        self.order.insert(self.count, context.id().clone());
        self.accounts.insert(context.id().clone(), (self.count, context));
        forgotten
    }
}

impl Accounts {
    /// Accounts whose buckets are used at `share`.
    pub fn new(share: f64, sessions: Arc<Sessions>) -> Self {
        Self { share, sessions, open: Mutex::default(), rested: Mutex::default() }
    }

    /// Begins work in an account.
    /// `empty`: its buckets begin without a token, because another process called here a moment ago.
    pub async fn enter(
        self: &Arc<Self>,
        store: &dyn Store,
        account: &AccountId,
        empty: bool,
    ) -> Result<Visit, StoreError> {
        if let Some(context) = self.existing(account) {
            return Ok(Visit { accounts: Arc::clone(self), context });
        }
        let learned = store.learned(account).await?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let context = open.entry(account.clone()).or_insert_with(|| {
            Arc::new(AccountContext {
                buckets: AccountBuckets::new(account.clone(), self.share, learned, empty),
                users: Mutex::new(0),
            })
        });
        *context.users.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(Visit { accounts: Arc::clone(self), context: Arc::clone(context) })
    }

    /// Forgets the accounts, of those that rest, that are no longer this worker's: their sessions and buckets.
    pub fn forget(&self, gone: impl Fn(&AccountId) -> bool) {
        let mut rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: Vec<AccountId> = rested.accounts.keys().filter(|id| gone(id)).cloned().collect();
        for id in ids {
            rested.take(&id);
            self.sessions.forget(&id);
        }
    }

    /// Shows the present factor of every bucket in memory, with its service.
    pub(crate) fn each_factor(&self, show: &mut dyn FnMut(&str, f64)) {
        let mut contexts: Vec<Arc<AccountContext>> =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.extend(rested.accounts.values().map(|(_, context)| Arc::clone(context)));
        drop(rested);
        contexts.iter().for_each(|context| context.buckets.each_factor(show));
    }

    fn existing(&self, account: &AccountId) -> Option<Arc<AccountContext>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(account) {
            let rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner).take(account)?;
            open.insert(account.clone(), rested);
        }
        let context = open.get(account)?;
        *context.users.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Some(Arc::clone(context))
    }

    fn leave(&self, context: &Arc<AccountContext>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users = context.users.lock().unwrap_or_else(PoisonError::into_inner);
        *users -= 1;
        if *users > 0 {
            return;
        }
        drop(users);
        if let Some(context) = open.remove(context.id())
            && let Some(id) = self.rested.lock().unwrap_or_else(PoisonError::into_inner).add(context)
        {
            self.sessions.forget(&id);
        }
    }
}

/// Work in an account; it ends when this is dropped.
#[derive(Debug)]
pub struct Visit {
    accounts: Arc<Accounts>,
    context: Arc<AccountContext>,
}

impl Visit {
    /// The account in work.
    pub fn context(&self) -> &Arc<AccountContext> {
        &self.context
    }
    /// A cell is done: its limiters go, and what they learned comes back.
    pub fn retire(&self, service: &Service, region: &str, now: jiff::Timestamp) -> Vec<LearnedFactor> {
        self.context.buckets.retire(service, region, now)
    }
}
impl Drop for Visit {
    fn drop(&mut self) {
        self.accounts.leave(&self.context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(number: usize) -> Arc<AccountContext> {
        let id: AccountId = format!("{number:012}").parse().expect("an id");
        Arc::new(AccountContext { buckets: AccountBuckets::new(id, 0.5, Vec::new(), false), users: Mutex::new(0) })
    }

    #[test]
    fn who_came_to_rest_last_is_forgotten_last() {
        let mut rested = Rested::default();
        let id = |number| context(number).id().clone();
        for number in 0..MAX_RESTED {
            assert_eq!(rested.add(context(number)), None);
        }
        // The first comes back again and again; all the others are met once.
        for number in MAX_RESTED..5 * MAX_RESTED {
            let known = rested.take(&id(0)).expect("it is kept, however many come");
            assert_eq!(rested.add(known), None);
            assert_eq!(rested.add(context(number)), Some(id(number + 1 - MAX_RESTED)));
        }
        assert_eq!((rested.accounts.len(), rested.order.len()), (MAX_RESTED, MAX_RESTED));
    }
}
