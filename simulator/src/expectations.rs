//! What a correct scan must find, computed when it is asked for.

use crate::{
    engine::Engine,
    persona::Fate,
    policy::{self, DeniedBy},
    region::RegionId,
    stock::{Answer, CellKey, Stock, items_of, key_of, wanted},
    world::AccountIndex,
};
use fleetscan_proto::{
    AccountId, Cell, Outcome,
    catalogue::{Emit, Operation, Scope, Service},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// What a correct scan must find, cell by cell. Holds nothing but the world: every answer is computed from the seed,
/// so that any number of accounts costs no memory. Policies detached, SCPs and regions changed at run time are heeded;
/// a role deleted at run time makes its account's cells `revoked`.
#[derive(Debug, Clone)]
pub struct Expectations {
    engine: Arc<Engine>,
}

/// How a cell must end, and what must be found in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpectedCell {
    /// Which cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// How it must end.
    pub outcome: Outcome,
    /// What must be found, in no particular order; each once.
    pub records: Vec<ExpectedRecord>,
    /// Actions that are denied in it, sorted.
    pub denied: Vec<String>,
}

/// A record that must be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ExpectedRecord {
    /// CloudFormation's name of the type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
}

impl Expectations {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Every account.
    pub fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        self.engine.world.accounts().filter_map(|account| self.engine.world.id(account).parse().ok())
    }

    /// The regions whose cells a scan must plan for an account: the enabled ones, where the account tells (or lets
    /// itself be entered at all), else those that every account has.
    pub fn regions(&self, account: &AccountId) -> Vec<String> {
        let Some(index) = self.engine.world.account(account.as_str()) else { return Vec::new() };
        RegionId::of(self.planned(index)).map(|region| region.name().to_owned()).collect()
    }

    /// Every cell of an account, one after the other; none for an account that is not simulated.
    pub fn cells(&self, account: &AccountId) -> impl Iterator<Item = ExpectedCell> + '_ {
        let index = self.engine.world.account(account.as_str());
        index.into_iter().flat_map(move |index| {
            let services = self.engine.services().iter().enumerate().filter(|(_, service)| service.cells);
            services.flat_map(move |(at, service)| {
                let regions: Vec<RegionId> = match service.scope {
                    Scope::Global { .. } => vec![RegionId::GLOBAL],
                    Scope::Regional => RegionId::of(self.planned(index)).collect(),
                };
                regions.into_iter().map(move |region| self.expected(index, region, at))
            })
        })
    }

    /// One cell; `None` where the simulation has no such account, region or service.
    pub fn cell(&self, cell: &Cell) -> Option<ExpectedCell> {
        let account = self.engine.world.account(cell.account.as_str())?;
        let at = self.engine.services().iter().position(|service| service.id == cell.service)?;
        let region = RegionId::parse(&cell.region)?;
        let global = matches!(self.engine.services()[at].scope, Scope::Global { .. });
        (global == (region == RegionId::GLOBAL)).then(|| self.expected(account, region, at))
    }

    fn lets_in(&self, account: AccountIndex) -> bool {
        self.engine.world.persona(account).fate != Fate::NeverFitted
    }

    fn planned(&self, account: AccountIndex) -> u64 {
        let default = (1_u64 << RegionId::DEFAULT) - 1;
        let tells = |service: &str, action: &str| {
            let changes = self.engine.live.changes(account);
            policy::denied(self.engine.world.persona(account), changes.as_ref(), service, action).is_none()
        };
        let told = tells("account", "account:ListRegions") || tells("ec2", "ec2:DescribeRegions");
        if told && self.lets_in(account) { self.engine.enabled(account) } else { default }
    }

    fn expected(&self, account: AccountIndex, region: RegionId, at: usize) -> ExpectedCell {
        let service = &self.engine.services()[at];
        let nothing = |outcome| (outcome, BTreeSet::new(), Vec::new());
        let persona = self.engine.world.persona(account);
        let revoked = persona.fate == Fate::RevokedMidScan && self.engine.live.generation(account) <= 1;
        let (outcome, denied, records) = if !self.lets_in(account) {
            nothing(Outcome::Unconfirmed)
        } else if revoked || self.engine.live.is_deleted(account) {
            nothing(Outcome::Revoked)
        } else if region != RegionId::GLOBAL && self.engine.enabled(account) & region.bit() == 0 {
            nothing(Outcome::RegionDisabled)
        } else {
            let stock = self.engine.fresh_stock(CellKey { account, region, service: at as u16 });
            let walk = Walk::new(self, account, region, at, &stock);
            walk.run()
        };
        let id = self.engine.world.id(account).parse();
        let account = id.unwrap_or_else(|_| unreachable!("the world's ids have twelve digits"));
        ExpectedCell {
            cell: Cell::new(account, region.name(), &service.id),
            outcome,
            records,
            denied: denied.into_iter().collect(),
        }
    }

    /// Every answer that an operation has in a cell, whole: the parameters that ask for it, the value meant (`null`
    /// where there is none, with the error code that says so). For tests that hold a client's reading against it.
    pub fn meant(&self, cell: &Cell, operation: &str) -> Option<Vec<Meant>> {
        let account = self.engine.world.account(cell.account.as_str())?;
        let at = self.engine.services().iter().position(|service| service.id == cell.service)?;
        let service = &self.engine.services()[at];
        let operation = service.operation(operation)?;
        let region = match service.scope {
            Scope::Global { .. } => RegionId::GLOBAL,
            Scope::Regional => RegionId::parse(&cell.region)?,
        };
        let stock = self.engine.fresh_stock(CellKey { account, region, service: at as u16 });
        let signing = service.signing_region(region.name()).to_owned();
        let mut meant: Vec<Meant> = stock
            .answers(operation)
            .map(|(key, kept)| {
                let value = match &kept.answer {
                    Answer::Absent => None,
                    Answer::Body(body) => Some(body.value()),
                };
                Meant {
                    params: params(operation, key, kept.typed.as_deref(), cell, &signing),
                    region: kept.region.clone().unwrap_or_else(|| signing.clone()),
                    error: value.is_none().then(|| operation.absent.first().cloned().unwrap_or_default()),
                    value,
                }
            })
            .collect();
        meant.sort_by_key(|one| Value::Object(one.params.clone()).to_string());
        Some(meant)
    }
}

/// An answer as it is meant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Meant {
    /// What asks for it; a batched parameter has one element.
    pub params: Map<String, Value>,
    /// The region to ask in.
    pub region: String,
    /// The whole answer, all pages together, without the members that page it.
    pub value: Option<Value>,
    /// The error code, where there is none.
    pub error: Option<String>,
}

/// The parameters that lead to a key.
fn params(operation: &Operation, key: &str, typed: Option<&[Value]>, cell: &Cell, signing: &str) -> Map<String, Value> {
    use fleetscan_proto::catalogue::{Binding, place};
    let mut params = operation.input.clone();
    let texts = || key.split('\x1f').map(Value::from).collect();
    let mut values = typed.map_or_else(texts, <[Value]>::to_vec).into_iter();
    let batch = operation.parent.as_ref().and_then(|p| p.batch.as_ref()).map(|(param, _)| param.as_str());
    for (name, binding) in &operation.with {
        let value = match binding {
            Binding::Account => Value::from(cell.account.as_str()),
            Binding::Region => Value::from(signing),
            Binding::Item { .. } | Binding::Text(_) | Binding::Trail(_) => values.next().unwrap_or_default(),
        };
        let value = if batch == Some(name) { json!([value]) } else { value };
        place(&mut params, name, value);
    }
    if let Some(batch) = batch.filter(|batch| !operation.with.iter().any(|(name, _)| name == batch)) {
        params.insert(batch.to_owned(), json!([values.next().unwrap_or_default()]));
    }
    params
}

/// A scan of one cell, as the catalogue says it goes: what is called, what is denied, what is found.
struct Walk<'a> {
    service: &'a Service,
    stock: &'a Stock,
    /// What each principal that acted is called, by the operation that tells.
    principals: HashMap<usize, Vec<String>>,
    cell_region: RegionId,
    account: String,
    denials: Vec<Option<DeniedBy>>,
    answered: HashSet<usize>,
    denied: HashSet<usize>,
    records: BTreeSet<ExpectedRecord>,
}

impl<'a> Walk<'a> {
    fn new(
        expectations: &'a Expectations,
        account: AccountIndex,
        region: RegionId,
        at: usize,
        stock: &'a Stock,
    ) -> Self {
        let engine = &expectations.engine;
        let service = engine.services()[at].as_ref();
        let told = service.operations.iter().filter(|operation| operation.history.is_some());
        let named = |o: &Operation| Some((o.index, engine.events(account, region, at, o)?.names()));
        let principals = told.filter_map(named).collect();
        let changes = engine.live.changes(account);
        let persona = engine.world.persona(account);
        let owner = |o: &Operation| o.lender.clone().unwrap_or_else(|| service.id.clone());
        let denial = |o: &Operation| policy::denied(persona, changes.as_ref(), &owner(o), &o.action);
        Self {
            service,
            stock,
            principals,
            cell_region: region,
            account: engine.world.id(account),
            denials: service.operations.iter().map(denial).collect(),
            answered: HashSet::new(),
            denied: HashSet::new(),
            records: BTreeSet::new(),
        }
    }

    fn run(mut self) -> (Outcome, BTreeSet<String>, Vec<ExpectedRecord>) {
        let service = self.service;
        let top = || service.operations.iter().filter(|o| o.parent.is_none() && o.opt_in.is_none());
        for operation in top().filter(|o| !o.joined && o.fallback_for.is_none()) {
            self.top(operation);
        }
        for operation in top() {
            if operation.fallback_for.is_some_and(|index| self.denied.contains(&index)) {
                self.top(operation);
            }
        }
        let scp_alone = self.denied.iter().all(|index| self.denials[*index] == Some(DeniedBy::Scp));
        let outcome = match (self.answered.is_empty(), self.denied.is_empty()) {
            (_, true) => Outcome::Complete,
            (false, false) => Outcome::Partial,
            (true, false) if scp_alone => Outcome::DeniedByScp,
            (true, false) => Outcome::Denied,
        };
        let denied = self.denied.iter().map(|index| service.operations[*index].action.clone()).collect();
        (outcome, denied, self.records.into_iter().collect())
    }

    /// Notes that an operation is called; answers whether it is allowed.
    fn called(&mut self, operation: &Operation) -> bool {
        let allowed = self.denials[operation.index].is_none();
        let set = if allowed { &mut self.answered } else { &mut self.denied };
        set.insert(operation.index);
        allowed
    }

    fn top(&mut self, operation: &'a Operation) {
        if let Some(join) = &operation.join {
            self.called(&self.service.operations[join.operation]);
        }
        if !self.called(operation) {
            return;
        }
        match self.principals.remove(&operation.index) {
            Some(names) => {
                let record = |id| ExpectedRecord { kind: operation.emits[0].kind.clone(), id };
                self.records.extend(names.into_iter().map(record));
            }
            None => self.answer(operation, "", &[]),
        }
    }

    fn answer(&mut self, operation: &'a Operation, key: &str, chain: &[&Value]) {
        let Some(Answer::Body(body)) = self.stock.answer(operation, key).map(|kept| &kept.answer) else { return };
        let mut value = body.value();
        operation.unpack(&mut value);
        for (index, emit) in operation.emits.iter().enumerate() {
            for item in items_of(operation, emit, &value, chain, &|name| self.variable(name)) {
                let item = item.as_ref();
                let chain: Vec<&Value> = std::iter::once(item).chain(chain.iter().copied()).collect();
                self.children(operation, index, &chain);
                if emit.is_record() {
                    self.record(emit, item);
                }
            }
        }
    }

    fn children(&mut self, operation: &'a Operation, emit: usize, chain: &[&Value]) {
        let mut denied = Vec::new();
        for child in self.service.children(operation.index, emit) {
            let fallback = child.fallback_for.is_none_or(|index| denied.contains(&index));
            if child.opt_in.is_some() || !fallback || !wanted(child, chain[0]) {
                continue;
            }
            let Some(key) = key_of(child, chain, &|name| self.variable(name)) else { continue };
            if self.called(child) {
                self.answer(child, &key, chain);
            } else {
                denied.push(child.index);
            }
        }
    }

    fn variable(&self, name: &str) -> String {
        let region = self.service.signing_region(self.cell_region.name());
        match name {
            "account" => self.account.clone(),
            "partition" => fleetscan_proto::partition_of(region).0.to_owned(),
            _ => region.to_owned(),
        }
    }

    fn record(&mut self, emit: &Emit, item: &Value) {
        let (bare, named) = match item {
            Value::String(text) => (Some(text.clone()), json!({"Name": text})),
            other => (None, other.clone()),
        };
        // An item that is a bare text is its own id.
        if let Some(id) = emit.id.fill(&named, &|name| self.variable(name)).or(bare) {
            self.records.insert(ExpectedRecord { kind: emit.kind.clone(), id });
        }
    }
}
