//! Walks over the pages of operations that have no parent.

use super::{Chain, Extraction, Halt, ITEMS_AT_ONCE, Page, Refusal, WALKS_AT_ONCE, item::taken, record::scrub};
use crate::wire::{next_token, page_params};
use fleetscan_proto::catalogue::{Join, Operation, place};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The first halt that one of many tasks met.
#[derive(Default)]
struct First(Mutex<Option<Halt>>);

impl First {
    fn met(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
    fn note(&self, result: Result<(), Halt>) {
        if let Err(halt) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(halt);
        }
    }
    fn into_result(self) -> Result<(), Halt> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// Items of other operations, by the key that joins them.
type Joined = HashMap<String, Map<String, Value>>;

impl Extraction<'_> {
    pub(super) async fn walks(&self) -> Result<(), Halt> {
        let operations = &self.service.operations;
        // What was done is read only where there is time for it.
        let off = |o: &Operation| o.history.is_some() && self.recollection.limit.is_zero();
        let top = || operations.iter().filter(|o| o.parent.is_none() && o.opt_in.is_none() && !off(o));
        self.side_by_side(top().filter(|o| !o.joined && o.fallback_for.is_none())).await?;
        let denied = |index: usize| self.state().was_denied(&operations[index].name, &operations[index].action);
        let fallbacks: Vec<&Operation> = top().filter(|o| o.fallback_for.is_some_and(denied)).collect();
        self.side_by_side(fallbacks.into_iter()).await
    }

    async fn side_by_side<'o>(&self, operations: impl Iterator<Item = &'o Operation>) -> Result<(), Halt> {
        let first = First::default();
        futures_util::stream::iter(operations)
            .for_each_concurrent(WALKS_AT_ONCE, |operation| async {
                if !first.met() {
                    first.note(self.walk(operation).await);
                }
            })
            .await;
        first.into_result()
    }

    async fn walk(&self, operation: &Operation) -> Result<(), Halt> {
        if let Some(history) = &operation.history {
            return self.history(operation, history).await;
        }
        if self.state().walk_finished(&operation.name) {
            return Ok(());
        }
        let joined = match &operation.join {
            Some(join) => self.joined(join).await?,
            None => Joined::new(),
        };
        let Some(bound) = self.bind(operation, None) else { return Ok(()) };
        let mut token = self.state().walk_token(&operation.name);
        let mut resumed = token.is_some();
        loop {
            if self.must_halt() {
                return Err(Halt::Yield);
            }
            let params = page_params(operation, bound.clone(), token.as_deref());
            let page = Page { token: token.is_some(), resumed, foreign: false };
            let mut answer = match self.ask(operation, self.region, &params, page).await? {
                Ok(answer) => answer,
                Err(_) => {
                    self.state().page_done(&operation.name, None);
                    return Ok(());
                }
            };
            resumed = false;
            let next = next_token(operation.paging.as_ref(), &answer);
            if next.is_some() && next == token {
                self.state().failed(&operation.name, "the same page token came twice");
                self.state().page_done(&operation.name, None);
                return Ok(());
            }
            self.page(operation, &mut answer, &joined).await?;
            self.state().page_done(&operation.name, next.clone());
            match next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Works on the items of a page that are not done yet.
    async fn page(&self, operation: &Operation, answer: &mut Value, joined: &Joined) -> Result<(), Halt> {
        for (index, emit) in operation.emits.iter().enumerate() {
            let mut items = match emit.items.as_str() {
                "." => vec![answer.take()],
                _ => taken(operation, index, answer),
            };
            if let Some(home) = &operation.home {
                let elsewhere = |region: &str| region != self.region;
                items.retain(|item| !home.get(item).and_then(Value::as_str).is_some_and(elsewhere));
            }
            for item in &mut items {
                join(operation, item, joined);
                scrub(operation, item);
            }
            let keyed: Vec<(String, Value)> =
                items.into_iter().map(|item| (self.key(operation, index, &item), item)).collect();
            self.batches(operation, index, &keyed).await?;
            let first = First::default();
            let open =
                keyed.into_iter().filter(|(key, _)| !self.state().is_done(&operation.name, key)).collect::<Vec<_>>();
            futures_util::stream::iter(open)
                .for_each_concurrent(ITEMS_AT_ONCE, |(key, item)| {
                    let first = &first;
                    async move {
                        if first.met() {
                            return;
                        }
                        if self.must_halt() {
                            return first.note(Err(Halt::Yield));
                        }
                        first.note(self.unit(operation, index, key, item).await);
                    }
                })
                .await;
            first.into_result()?;
        }
        Ok(())
    }

    /// One item of a page with all that hangs on it: done when its records are written.
    async fn unit(&self, operation: &Operation, emit: usize, key: String, item: Value) -> Result<(), Halt> {
        let mut records = Vec::new();
        self.item(operation, emit, item, None, None, &mut records).await?;
        self.commit(operation, [key], records).await
    }

    /// Batched children of a page's items: a call for every so many items.
    async fn batches(&self, operation: &Operation, emit: usize, keyed: &[(String, Value)]) -> Result<(), Halt> {
        for child in self.service.children(operation.index, emit) {
            let Some((_, max)) = child.parent.as_ref().and_then(|p| p.batch.clone()) else { continue };
            if child.opt_in.is_some() {
                continue;
            }
            let key_of = |key: &str| format!("{}/{key}", child.name);
            let open: Vec<&(String, Value)> =
                keyed.iter().filter(|(key, _)| !self.state().is_done(&operation.name, &key_of(key))).collect();
            let first = First::default();
            let chunks: Vec<_> = open.chunks(max).collect();
            futures_util::stream::iter(chunks)
                .for_each_concurrent(ITEMS_AT_ONCE, |chunk| {
                    let first = &first;
                    async move {
                        if first.met() {
                            return;
                        }
                        if self.must_halt() {
                            return first.note(Err(Halt::Yield));
                        }
                        let mut records = Vec::new();
                        let items: Vec<&Value> = chunk.iter().map(|(_, item)| item).collect();
                        let result = match self.batch(child, &items, None, &mut records).await {
                            Ok(()) => self.commit(operation, chunk.iter().map(|(key, _)| key_of(key)), records).await,
                            Err(halt) => Err(halt),
                        };
                        first.note(result);
                    }
                })
                .await;
            first.into_result()?;
        }
        Ok(())
    }

    /// Writes records and marks what they came from as done, as one step.
    async fn commit(
        &self,
        operation: &Operation,
        keys: impl IntoIterator<Item = String>,
        records: Vec<fleetscan_proto::Record>,
    ) -> Result<(), Halt> {
        let mut writer = self.writer.lock().await;
        for record in &records {
            writer.write(record).await.map_err(Halt::Sink)?;
        }
        self.state().item_done(&operation.name, keys);
        Ok(())
    }

    /// All items of an operation that another is joined with, by key.
    async fn joined(&self, join: &Join) -> Result<Joined, Halt> {
        let operation = &self.service.operations[join.operation];
        let mut joined = Joined::new();
        let Some(bound) = self.bind(operation, None) else { return Ok(joined) };
        let mut token: Option<String> = None;
        loop {
            let params = page_params(operation, bound.clone(), token.as_deref());
            let page = Page { token: token.is_some(), ..Page::default() };
            let mut answer = match self.ask(operation, self.region, &params, page).await? {
                Ok(answer) => answer,
                Err(Refusal::Denied | Refusal::Absent | Refusal::Failed) => return Ok(joined),
            };
            let next = next_token(operation.paging.as_ref(), &answer);
            for emit in &operation.emits {
                for mut item in emit.items.take_items(&mut answer) {
                    scrub(operation, &mut item);
                    if let (Some(key), Value::Object(map)) =
                        (join.on.get(&item).and_then(Value::as_str).map(str::to_owned), item)
                    {
                        joined.insert(key, map);
                    }
                }
            }
            if next.is_none() || next == token {
                return Ok(joined);
            }
            token = next;
        }
    }

    /// Names an item among those of its page.
    fn key(&self, operation: &Operation, emit: usize, item: &Value) -> String {
        let named = match item {
            Value::String(text) => Some(text.clone()),
            _ if operation.emits[emit].is_record() => operation.emits[emit].id.fill(item, &|name| self.variable(name)),
            _ => None,
        };
        // One operation's several lists may name different things alike.
        let named = named
            .unwrap_or_else(|| Sha256::digest(item.to_string()).iter().take(12).map(|b| format!("{b:02x}")).collect());
        if operation.emits.len() > 1 { format!("{emit}:{named}") } else { named }
    }
}

fn join(operation: &Operation, item: &mut Value, joined: &Joined) {
    let Some(join) = &operation.join else { return };
    let Some(more) = join.on.get(item).and_then(Value::as_str).and_then(|key| joined.get(key)) else { return };
    if let Value::Object(map) = item {
        for (name, value) in more {
            if !map.contains_key(name) {
                map.insert(name.clone(), value.clone());
            }
        }
    }
}

impl Extraction<'_> {
    /// An operation's parameters without those of paging; `None` where an item lacks one. `chain`: the items that it
    /// is called for.
    pub(super) fn bind(&self, operation: &Operation, chain: Option<&Chain<'_>>) -> Option<Map<String, Value>> {
        let mut params = operation.input.clone();
        for (name, binding) in &operation.with {
            let value = binding.value(&|up| chain?.ancestor(up), &|name| self.variable(name))?;
            place(&mut params, name, value);
        }
        Some(params)
    }
}
