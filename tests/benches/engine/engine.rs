//! The whole path: what a scan's calls go through, redaction included.

use crate::client::{Target, catalogue};
use anyhow::ensure;
use async_trait::async_trait;
use fleetscan_backends::embedded::EmbeddedStore;
use fleetscan_proto::{Account, AccountId, Grants, Store, StoreError, SystemClock, catalogue::FieldPath};
use fleetscan_worker::{
    Hub, HubOptions, StatsCell,
    account::{Accounts, Visit},
    call::{Budget, Call, CallPolicy, Caller},
    gate::Gate,
    guard::Guard,
    session::{SessionTerms, Sessions},
    slots::Slots,
};
use serde_json::{Map, Value};
use std::sync::Arc;

struct One(Account);

#[async_trait]
impl Grants for One {
    async fn account(&self, _: &AccountId) -> Result<Option<Account>, StoreError> {
        Ok(Some(self.0.clone()))
    }
}

pub struct Engine {
    caller: Caller,
    visit: Visit,
    budget: Budget,
    params: Map<String, Value>,
    service: String,
    operation: String,
    items: FieldPath,
    _folder: tempfile::TempDir,
}

impl Engine {
    pub async fn new(target: Target<'_>) -> anyhow::Result<Engine> {
        let account = target.account()?;
        let options = HubOptions {
            endpoint: Some(target.endpoint.into()),
            credentials: Some((target.hub.0.into(), target.hub.1.into())),
            ..HubOptions::default()
        };
        let hub = Arc::new(Hub::connect(options).await?);
        let folder = tempfile::tempdir()?;
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path())?);
        let (clock, stats) = (Arc::new(SystemClock), Arc::new(StatsCell::default()));
        let id = account.id.clone();
        let sessions = Arc::new(Sessions::new(
            hub.clone(),
            Arc::new(One(account)),
            Arc::clone(&store),
            clock.clone(),
            Arc::clone(&stats),
            Arc::default(),
            SessionTerms { prefix: "Bench".into(), policy: None },
        ));
        let catalogue = Arc::new(catalogue()?);
        let items = catalogue
            .operation(target.service, target.operation)
            .map(|o| o.emits[0].items.clone())
            .ok_or_else(|| anyhow::anyhow!("operation"))?;
        let caller = Caller {
            aws: hub.clone(),
            gate: Gate::new(catalogue),
            sessions: Arc::clone(&sessions),
            clock,
            stats,
            slots: Slots::new(64),
            policy: CallPolicy::default(),
            switches: Arc::default(),
            metrics: Arc::default(),
        };
        let visit = Arc::new(Accounts::new(1.0, sessions)).enter(store.as_ref(), &id, false).await?;
        let params = Map::from_iter([("MaxItems".to_owned(), Value::from(50))]);
        Ok(Engine {
            caller,
            visit,
            budget: Budget::new(10, 10, false, Guard::free()),
            params,
            service: target.service.into(),
            operation: target.operation.into(),
            items,
            _folder: folder,
        })
    }

    pub async fn call(&self) -> anyhow::Result<()> {
        let call = Call {
            account: self.visit.context(),
            service: &self.service,
            operation: &self.operation,
            region: "us-east-1",
            params: &self.params,
            paged: false,
            budget: &self.budget,
        };
        let value = self.caller.call(call).await.map_err(|e| anyhow::anyhow!("{e:?}"))?;
        ensure!(!self.items.items(&value).is_empty(), "no items");
        Ok(())
    }
}
