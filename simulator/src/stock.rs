//! All answers of one cell, made at once from the seed, and dropped when nobody asked for them lately.

use crate::{
    dice::Dice,
    expression::Scope,
    fixture::{ListFixture, OperationFixture, ServiceFixture},
    lists::Lists,
    region::{RegionId, all},
    world::{AccountIndex, ListKey, World},
};
use bytes::Bytes;
use fleetscan_proto::catalogue::{Emit, Operation, Service};
use serde_json::{Map, Value, json};
use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// What an operation answers, whole.
#[derive(Debug)]
pub(crate) enum Answer {
    /// There is none: the operation's first `absent` code.
    Absent,
    /// This.
    Body(Body),
}

/// An answer with its lists at full length, as JSON: a value takes several times as much memory, and most answers are
/// asked for once.
#[derive(Debug)]
pub(crate) struct Body {
    json: Bytes,
    /// Pages that were asked for, by first item and size; kept from the second time on.
    pages: Mutex<HashMap<(usize, usize), Option<Bytes>>>,
    /// Itself, taken apart, where its lists are long.
    lists: OnceLock<Arc<Lists>>,
}

/// Pages remembered of an answer; others are made anew each time.
const PAGES: usize = 64;

impl Body {
    fn new(value: &Value) -> Self {
        Self { json: value.to_string().into(), pages: Mutex::default(), lists: OnceLock::new() }
    }
    /// The answer as it stands.
    pub(crate) fn json(&self) -> &Bytes {
        &self.json
    }
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }
    /// The answer taken apart at `paths`, which are the same each time.
    pub(crate) fn lists(&self, paths: &[Vec<String>]) -> Arc<Lists> {
        if let Some(lists) = self.lists.get() {
            return Arc::clone(lists);
        }
        let lists = Arc::new(Lists::of(self.value(), paths));
        if lists.is_long() {
            return Arc::clone(self.lists.get_or_init(|| lists));
        }
        lists
    }
    /// A page as it was sent before, or as `render` makes it.
    pub(crate) fn page<E>(&self, at: (usize, usize), render: impl FnOnce() -> Result<Bytes, E>) -> Result<Bytes, E> {
        let lock = || self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let asked_before = match lock().get(&at) {
            Some(Some(bytes)) => return Ok(bytes.clone()),
            Some(None) => true,
            None => false,
        };
        let bytes = render()?;
        let mut pages = lock();
        if pages.len() < PAGES || asked_before {
            pages.insert(at, asked_before.then(|| bytes.clone()));
        }
        Ok(bytes)
    }
}

/// An answer, and where it can be had.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) answer: Answer,
    /// The one region that gives it, where the catalogue says that the item names it.
    pub(crate) region: Option<String>,
    /// The values of the key, where one of them is not a text.
    pub(crate) typed: Option<Vec<Value>>,
}

/// The answers of a cell, by operation and by the key of the item that they are about.
#[derive(Debug)]
pub(crate) struct Stock {
    answers: Vec<HashMap<Box<str>, Kept>>,
    /// Bytes, roughly.
    pub(crate) weight: usize,
}

/// Which cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CellKey {
    pub(crate) account: AccountIndex,
    pub(crate) region: RegionId,
    /// Place of the service in the catalogue.
    pub(crate) service: u16,
}

/// What a stock is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StockParts<'a> {
    pub(crate) world: &'a World,
    pub(crate) service: &'a Service,
    pub(crate) fixture: &'a ServiceFixture,
    pub(crate) cell: CellKey,
    /// The account's enabled regions, as they are now.
    pub(crate) enabled: u64,
    pub(crate) rotation: u32,
}

impl Stock {
    pub(crate) fn new(parts: &StockParts<'_>) -> Self {
        Maker::new(parts).make()
    }
    /// The answer about the item of that key; the empty key for operations that are about none.
    pub(crate) fn answer(&self, operation: &Operation, key: &str) -> Option<&Kept> {
        self.answers[operation.same_as].get(key)
    }
    /// All answers of an operation, by key.
    pub(crate) fn answers(&self, operation: &Operation) -> impl Iterator<Item = (&str, &Kept)> {
        self.answers[operation.same_as].iter().map(|(key, kept)| (key.as_ref(), kept))
    }
}

/// The key of a child's answer: the values of the parameters that come from items, in order. `None` where an item
/// lacks one, and so is never asked about.
pub(crate) fn key_of(child: &Operation, chain: &[&Value], variables: &dyn Fn(&str) -> String) -> Option<String> {
    let mut key = String::new();
    for (_, binding) in child.with.iter().filter(|(_, binding)| binding.is_of_item()) {
        push_key(&mut key, &binding.value(&|up| chain.get(up).copied(), variables)?);
    }
    // A batch of the items themselves needs no binding.
    if let Some((param, _)) = child.parent.as_ref().and_then(|p| p.batch.as_ref())
        && !child.with.iter().any(|(name, _)| name == param)
    {
        push_key(&mut key, chain.first()?);
    }
    Some(key)
}

/// The values of a key, where one of them is not a text.
fn typed(child: &Operation, chain: &[&Value], variables: &dyn Fn(&str) -> String) -> Option<Vec<Value>> {
    let bound = child.with.iter().filter(|(_, binding)| binding.is_of_item());
    let values: Vec<Value> =
        bound.filter_map(|(_, binding)| binding.value(&|up| chain.get(up).copied(), variables)).collect();
    values.iter().any(|value| !value.is_string()).then_some(values)
}

/// Adds one value to a key.
pub(crate) fn push_key(key: &mut String, value: &Value) {
    match value {
        Value::String(text) => key.push_str(text),
        other => key.push_str(&other.to_string()),
    }
    key.push('\x1f');
}

/// The items that an answer has for one of its operation's emits, with the member lifted that is to be, and what the
/// items above add. A table must have been turned into its rows before.
pub(crate) fn items_of<'v>(
    operation: &Operation,
    emit: &Emit,
    value: &'v Value,
    chain: &[&Value],
    variables: &dyn Fn(&str) -> String,
) -> Vec<Cow<'v, Value>> {
    let items = match emit.items.as_str() {
        "." => vec![value],
        _ => emit.items.items(value),
    };
    let whole = |item| {
        let mut item = lifted(operation, item);
        if !operation.add.is_empty() {
            let above = |up: usize| chain.get(up.checked_sub(1)?).copied();
            operation.enrich(item.to_mut(), &above, variables);
        }
        item
    };
    items.into_iter().map(whole).collect()
}

fn lifted<'v>(operation: &Operation, item: &'v Value) -> Cow<'v, Value> {
    let (Some(member), Value::Object(map)) = (&operation.lift, item) else { return Cow::Borrowed(item) };
    let mut map = map.clone();
    if let Some(Value::Object(inner)) = map.shift_remove(member) {
        map.extend(inner);
    }
    Cow::Owned(Value::Object(map))
}

/// Whether a child is asked for about an item at all.
pub(crate) fn wanted(child: &Operation, item: &Value) -> bool {
    child.parent.as_ref().is_none_or(|parent| parent.wants(item))
}

/// Items within items: below so many there is nothing more (units of an organisation go five deep).
const LEVELS: usize = 6;

struct Maker<'a> {
    parts: StockParts<'a>,
    account: String,
    external_id: String,
    region: &'static str,
    regions: Vec<&'static str>,
    dice: Dice,
    stock: Stock,
}

impl<'a> Maker<'a> {
    fn new(parts: &StockParts<'a>) -> Self {
        let StockParts { world, service, cell, .. } = *parts;
        let home = match &service.scope {
            fleetscan_proto::catalogue::Scope::Global { home } => RegionId::parse(home),
            fleetscan_proto::catalogue::Scope::Regional => None,
        };
        let answers = std::iter::repeat_with(HashMap::new).take(service.operations.len()).collect();
        Self {
            account: world.id(cell.account),
            external_id: world.external_id(cell.account, parts.rotation),
            region: home.unwrap_or(cell.region).name(),
            regions: RegionId::of(parts.enabled).map(RegionId::name).collect(),
            dice: world.cell(cell.account, cell.region, &service.id),
            stock: Stock { answers, weight: 1_000 },
            parts: *parts,
        }
    }

    fn make(mut self) -> Stock {
        let service = self.parts.service;
        // Events are made when they are asked for.
        for operation in service.operations.iter().filter(|o| o.parent.is_none() && o.history.is_none()) {
            let answer = self.answer(operation, self.dice_of(operation).text(&operation.name), &[]);
            self.keep(operation, "", answer, &[]);
        }
        self.stock
    }

    /// Keeps an answer, and makes those about its items.
    fn keep(&mut self, operation: &Operation, key: &str, value: Option<Value>, chain: &[&Value]) {
        if let Some(value) = &value {
            self.descend(operation, value, chain);
        }
        let answer = value.map_or(Answer::Absent, |value| Answer::Body(Body::new(&value)));
        let item = chain.first();
        let region = operation.in_region.as_ref().and_then(|path| path.get(item?)).and_then(Value::as_str);
        let kept = Kept {
            answer,
            region: region.map(str::to_owned),
            typed: typed(operation, chain, &|name| self.variable(name)),
        };
        self.stock.weight += 200 + key.len();
        if let Answer::Body(body) = &kept.answer {
            self.stock.weight += body.json.len();
        }
        self.stock.answers[operation.same_as].insert(key.into(), kept);
    }

    fn descend(&mut self, operation: &Operation, value: &Value, chain: &[&Value]) {
        let service = self.parts.service;
        let mut unpacked = Cow::Borrowed(value);
        if operation.table.is_some() {
            operation.unpack(unpacked.to_mut());
        }
        for (index, emit) in operation.emits.iter().enumerate() {
            if service.children(operation.index, index).next().is_none() {
                continue;
            }
            let items = items_of(operation, emit, &unpacked, chain, &|name| self.variable(name));
            for item in items {
                let item = item.as_ref();
                let chain: Vec<&Value> = std::iter::once(item).chain(chain.iter().copied()).collect();
                for child in service.children(operation.index, index) {
                    let key = key_of(child, &chain, &|name| self.variable(name));
                    let Some(key) = key.filter(|_| wanted(child, item)) else { continue };
                    let dice = self.dice.text(&child.name).text(&key);
                    let answer = self.answer(child, dice, &chain);
                    self.keep(child, &key, answer, &chain);
                }
            }
        }
    }

    /// The dice of the service whose operation it is: what is borrowed answers as it does at home.
    fn dice_of(&self, operation: &Operation) -> Dice {
        let StockParts { world, cell, .. } = self.parts;
        operation.lender.as_ref().map_or(self.dice, |lender| world.cell(cell.account, cell.region, lender))
    }

    /// What bindings call `$account`, `$region` and `$partition`.
    fn variable(&self, name: &str) -> String {
        match name {
            "account" => self.account.clone(),
            "partition" => fleetscan_proto::partition_of(self.region).0.to_owned(),
            _ => self.region.to_owned(),
        }
    }

    /// What an operation answers about an item; `None`: there is none.
    fn answer(&self, operation: &Operation, dice: Dice, chain: &[&Value]) -> Option<Value> {
        let fixture = &self.parts.fixture.operations[operation.index];
        if chain.len() > LEVELS {
            return Some(empty(fixture));
        }
        if !dice.text("present").chance(fixture.present) {
            return operation.absent.is_empty().then(|| empty(fixture));
        }
        let mut value = fixture.answer.fill(&self.scope(0, dice, chain));
        for list in &fixture.lists {
            let items = self.items(operation, list, dice, chain);
            put(&mut value, &list.path, Value::Array(items));
        }
        Some(value)
    }

    fn items(&self, operation: &Operation, list: &ListFixture, dice: Dice, chain: &[&Value]) -> Vec<Value> {
        if list.of_regions {
            return self.region_items(list, chain);
        }
        let StockParts { world, service, cell, .. } = self.parts;
        let (count, dice) = match &operation.parent {
            None => {
                let service = operation.lender.as_ref().unwrap_or(&service.id);
                let key = ListKey { service, operation: &operation.name, seed: &list.seed };
                let count = world.count(cell.account, cell.region, key, &list.spread);
                (count, self.dice_of(operation).text(&list.seed))
            }
            Some(parent) if parent.batch.is_some() => (1, dice),
            Some(_) => (dice.text("count").between(list.count.0, list.count.1) as usize, dice.text(&list.seed)),
        };
        let scope = |n| Scope { cell: self.dice_of(operation), ..self.scope(n, dice.number(n as u64), chain) };
        (0..count).map(|n| list.each.fill(&scope(n))).collect()
    }

    /// An item for each region of the partition, with its state as two APIs call it.
    fn region_items(&self, list: &ListFixture, chain: &[&Value]) -> Vec<Value> {
        let item = |n: usize| {
            let region = RegionId(n as u8);
            let enabled = self.parts.enabled & region.bit() != 0;
            let (status, opt_in) = match (region.is_opt_in(), enabled) {
                (false, true) => ("ENABLED_BY_DEFAULT", "opt-in-not-required"),
                (true, true) => ("ENABLED", "opted-in"),
                (_, false) => ("DISABLED", "not-opted-in"),
            };
            let about = json!({"name": region.name(), "status": status, "opt_in": opt_in});
            let chain: Vec<&Value> = std::iter::once(&about).chain(chain.iter().copied()).collect();
            list.each.fill(&self.scope(n, self.dice.number(n as u64), &chain))
        };
        (0..all().len()).map(item).collect()
    }

    fn scope<'s>(&'s self, index: usize, dice: Dice, above: &'s [&'s Value]) -> Scope<'s> {
        Scope {
            account: &self.account,
            region: self.region,
            index,
            dice,
            cell: self.dice,
            above,
            regions: &self.regions,
            own_external_id: &self.external_id,
        }
    }
}

/// An answer that has nothing: its lists, empty.
fn empty(fixture: &OperationFixture) -> Value {
    let mut value = Value::Object(Map::new());
    for list in &fixture.lists {
        put(&mut value, &list.path, Value::Array(Vec::new()));
    }
    value
}

/// Puts a value where keys lead.
pub(crate) fn put(object: &mut Value, path: &[String], value: Value) {
    let (Some((key, rest)), Value::Object(map)) = (path.split_first(), object) else { return };
    if rest.is_empty() {
        map.insert(key.clone(), value);
    } else {
        put(map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())), rest, value);
    }
}

/// The list where keys lead.
pub(crate) fn list_at<'v>(mut value: &'v Value, path: &[String]) -> &'v [Value] {
    for key in path {
        match value.get(key) {
            Some(inner) => value = inner,
            None => return &[],
        }
    }
    value.as_array().map_or(&[], Vec::as_slice)
}
