//! One item and the calls that the catalogue wants for it.

use super::{
    Chain, Extraction, Halt, Page, Refusal,
    record::{Draft, build, region_named, scrub},
};
use crate::wire::{next_token, page_params};
use fleetscan_proto::{
    Record,
    catalogue::{Binding, Operation, place},
};
use serde_json::{Map, Value};
use std::{future::Future, pin::Pin};

type Work<'w> = Pin<Box<dyn Future<Output = Result<(), Halt>> + Send + 'w>>;

impl Extraction<'_> {
    /// Works on an item: its children's calls, and its record, if it is one. `outer` is the record that the item is
    /// part of.
    pub(super) fn item<'w>(
        &'w self,
        operation: &'w Operation,
        emit: usize,
        mut item: Value,
        up: Option<&'w Chain<'w>>,
        outer: Option<&'w mut Draft>,
        records: &'w mut Vec<Record>,
    ) -> Work<'w> {
        Box::pin(async move {
            let spec = &operation.emits[emit];
            operation.enrich(&mut item, &|above| up?.ancestor(above.checked_sub(1)?), &|name| self.variable(name));
            if spec.is_record() {
                let mut draft = Draft::default();
                self.children(operation, emit, &Chain { item: &item, up }, &mut draft, records).await?;
                match build(spec, item, draft, self.cell, self.caller.clock.now(), &|name| self.variable(name)) {
                    Ok(record) => records.push(record),
                    Err(why) => self.state().failed(&operation.name, &why),
                }
                return Ok(());
            }
            let mut nobodys = Draft::default();
            self.children(operation, emit, &Chain { item: &item, up }, outer.unwrap_or(&mut nobodys), records).await
        })
    }

    async fn children(
        &self,
        operation: &Operation,
        emit: usize,
        chain: &Chain<'_>,
        draft: &mut Draft,
        records: &mut Vec<Record>,
    ) -> Result<(), Halt> {
        let mut denied = Vec::new();
        if chain.depth() > MOST_LEVELS {
            self.state().failed(&operation.name, "items within items, deeper than any that AWS has");
            return Ok(());
        }
        for child in self.service.children(operation.index, emit) {
            let batched = child.parent.as_ref().is_some_and(|p| p.batch.is_some());
            let called = child.fallback_for.is_none_or(|index| denied.contains(&index));
            if batched || !called || child.opt_in.is_some() || !wanted(child, chain.item) {
                continue;
            }
            if self.child(child, operation.emits[emit].is_record(), chain, draft, records).await? {
                denied.push(child.index);
            }
        }
        Ok(())
    }

    /// Calls a child operation for one item; answers whether it was denied.
    async fn child(
        &self,
        child: &Operation,
        of_record: bool,
        chain: &Chain<'_>,
        draft: &mut Draft,
        records: &mut Vec<Record>,
    ) -> Result<bool, Halt> {
        // An item that lacks what the call needs has nothing to be asked about.
        let Some(bound) = self.bind(child, Some(chain)) else { return Ok(false) };
        let region = self.region_of(child, chain.item, draft);
        let mut token: Option<String> = None;
        loop {
            let params = page_params(child, bound.clone(), token.as_deref());
            let page = Page { token: token.is_some(), resumed: false, foreign: self.is_foreign(child, chain) };
            let mut answer = match self.ask(child, &region, &params, page).await? {
                Ok(answer) => answer,
                Err(Refusal::Denied) => {
                    draft.deny(&child.action);
                    return Ok(true);
                }
                Err(Refusal::Absent | Refusal::Failed) => return Ok(false),
            };
            let next = next_token(child.paging.as_ref(), &answer);
            self.answer(child, of_record, &mut answer, chain, draft, records).await?;
            if next.is_none() || next == token {
                return Ok(false);
            }
            token = next;
        }
    }

    /// Puts a child's answer where it belongs: into the record, or into items of its own.
    async fn answer(
        &self,
        child: &Operation,
        of_record: bool,
        answer: &mut Value,
        chain: &Chain<'_>,
        draft: &mut Draft,
        records: &mut Vec<Record>,
    ) -> Result<(), Halt> {
        for (emit, spec) in child.emits.iter().enumerate() {
            let mut items = match spec.items.as_str() {
                "." => vec![answer.take()],
                _ => taken(child, emit, answer),
            };
            items.iter_mut().for_each(|item| scrub(child, item));
            let has_children = self.service.children(child.index, emit).next().is_some();
            if let Some(merge) = &child.merge {
                if !of_record && merge.keep.is_empty() && spec.items.as_str() == "." {
                    items.iter_mut().for_each(|item| self.say_whose(child, chain, item));
                }
                draft.merge(
                    child,
                    merge,
                    spec,
                    of_record,
                    if has_children { items.clone() } else { std::mem::take(&mut items) },
                );
            }
            if !spec.is_record() && !has_children {
                continue;
            }
            for grandchild in self.service.children(child.index, emit) {
                let Some((_, max)) = grandchild.parent.as_ref().and_then(|p| p.batch.clone()) else { continue };
                let all: Vec<&Value> = items.iter().collect();
                for chunk in all.chunks(max) {
                    self.batch(grandchild, chunk, Some(chain), records).await?;
                }
            }
            for item in items {
                self.item(child, emit, item, Some(chain), Some(&mut *draft), records).await?;
            }
        }
        Ok(())
    }

    /// Adds to an answer, one of several in a record, what it was asked about: AWS's answers seldom say.
    fn say_whose(&self, child: &Operation, chain: &Chain<'_>, answer: &mut Value) {
        if let (Value::Object(members), Some(params)) = (answer, self.bind(child, Some(chain))) {
            for (name, _) in &child.with {
                if let (Some(value), false) = (params.get(name), members.contains_key(name)) {
                    members.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// One call about several items at once; it emits records.
    pub(super) async fn batch(
        &self,
        child: &Operation,
        items: &[&Value],
        up: Option<&Chain<'_>>,
        records: &mut Vec<Record>,
    ) -> Result<(), Halt> {
        let Some(first) = items.first() else { return Ok(()) };
        let chain = Chain { item: first, up };
        let Some((param, _)) = child.parent.as_ref().and_then(|p| p.batch.clone()) else { return Ok(()) };
        let Some(mut params) = self.bind(child, Some(&chain)) else { return Ok(()) };
        let path = child.with.iter().find_map(|(name, binding)| match binding {
            Binding::Item { up: 0, path } if *name == param => Some(path),
            _ => None,
        });
        let values = items.iter().filter_map(|item| path.map_or(Some(*item), |p| p.get(item))).cloned().collect();
        place(&mut params, &param, Value::Array(values));
        let page = Page { foreign: self.is_foreign(child, &chain), ..Page::default() };
        let mut answer = match self.ask(child, self.region, &params, page).await? {
            Ok(answer) => answer,
            Err(_) => return Ok(()),
        };
        for (emit, spec) in child.emits.iter().enumerate() {
            let mut found = match spec.items.as_str() {
                "." => vec![answer.take()],
                _ => taken(child, emit, &mut answer),
            };
            found.iter_mut().for_each(|item| scrub(child, item));
            for item in found {
                self.item(child, emit, item, Some(&chain), None, records).await?;
            }
        }
        Ok(())
    }

    /// Whether a call is about another account's resource: one of the items that it is made for names its owner.
    fn is_foreign(&self, child: &Operation, chain: &Chain<'_>) -> bool {
        let (mut operation, mut link) = (child, Some(chain));
        while let (Some(parent), Some(here)) = (&operation.parent, link) {
            operation = &self.service.operations[parent.operation];
            let owner = operation.owner.as_ref().and_then(|path| path.get(here.item)).and_then(Value::as_str);
            if owner.is_some_and(|owner| account_in(owner) != self.cell.account.as_str()) {
                return true;
            }
            link = here.up;
        }
        false
    }

    /// The region that a child's call goes to: the one that the item (or a sibling's answer) has, else the cell's.
    fn region_of(&self, child: &Operation, item: &Value, draft: &Draft) -> String {
        let Some(path) = &child.in_region else { return self.region.to_owned() };
        let merged = Value::Object(draft.merged.clone());
        let named = path.get(item).or_else(|| path.get(&merged)).and_then(Value::as_str);
        named.map_or(self.region, region_named).to_owned()
    }

    /// What templates call `$account`, `$region` and `$partition`.
    pub(super) fn variable(&self, name: &str) -> String {
        match name {
            "account" => self.cell.account.as_str().to_owned(),
            "partition" => fleetscan_proto::partition_of(self.region).0.to_owned(),
            _ => self.region.to_owned(),
        }
    }
}

/// The account that an owner is: an ARN's, or what it says.
fn account_in(owner: &str) -> &str {
    if owner.starts_with("arn:") { owner.split(':').nth(4).unwrap_or(owner) } else { owner }
}

/// How many levels items may have; Organizations has the most, with units within units.
const MOST_LEVELS: usize = 16;

/// An answer's items. What only leads to others is copied where the answer has more lists, for theirs may hold it.
pub(super) fn taken(operation: &Operation, emit: usize, answer: &mut Value) -> Vec<Value> {
    let spec = &operation.emits[emit];
    if spec.is_record() || operation.emits.len() == 1 {
        return spec.items.take_items(answer);
    }
    spec.items.items(answer).into_iter().cloned().collect()
}

/// Whether a child is called for this item at all.
fn wanted(child: &Operation, item: &Value) -> bool {
    child.parent.as_ref().is_none_or(|parent| parent.wants(item))
}

/// The members of an answer without those that page it.
pub(super) fn without_paging(child: &Operation, mut members: Map<String, Value>) -> Map<String, Value> {
    if let Some(paging) = &child.paging {
        for path in [Some(&paging.output), paging.more.as_ref()].into_iter().flatten() {
            if let Some(key) = path.first_key() {
                members.shift_remove(key);
            }
        }
    }
    members.shift_remove("ResponseMetadata");
    members
}

#[cfg(test)]
mod tests {
    use super::account_in;

    #[test]
    fn an_owner_is_an_account_or_has_one_in_its_arn() {
        assert_eq!(account_in("111122223333"), "111122223333");
        assert_eq!(account_in("arn:aws:cloudtrail:eu-west-1:444455556666:trail/organisation"), "444455556666");
    }
}
