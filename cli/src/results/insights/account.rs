use super::is_about_absence;
use crate::{failure::Failure, services};
use fleetscan_proto::{
    LedgerLine, Outcome, Record,
    catalogue::{Operation, Service},
    insight::{Evidence, Gap, Join, Joined, Matter, Rule, RuleScope, Subject, Verdict, judge},
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// What a rule came to.
pub enum Said<'a> {
    /// It fires.
    Finding(Finding<'a>),
    /// Its answer is not known.
    Gap {
        /// By its place in the list of rules.
        rule: usize,
        /// Why not.
        gap: Gap,
    },
}

/// A rule that fired.
pub struct Finding<'a> {
    /// By its place in the list of rules.
    pub rule: usize,
    pub account: &'a str,
    pub region: &'a str,
    /// Nothing where the finding is that there is none.
    pub record: Option<&'a Record>,
    pub evidence: Vec<Evidence>,
}

/// What hears of it.
pub type Told<'t> = &'t mut dyn FnMut(Said<'_>) -> Result<(), Failure>;

/// An account while its records are looked at.
pub struct Examined<'a> {
    rules: &'a [Rule],
    account: &'a str,
    lines: &'a [LedgerLine],
    joins: Joins,
    /// By rule and, where the rule is about regions, region: whether what should be there is.
    present: HashMap<(usize, String), Presence>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Presence {
    /// It may be: something needed to tell was denied.
    Maybe,
    Yes,
}

/// What joins found, and where they could not look.
#[derive(Default)]
struct Joins {
    /// By rule's id, region (none where any will do) and what it is known by.
    found: HashMap<(String, Option<String>, String), Presence>,
    /// By rule's id: regions in which not all was read; none: no region.
    unread: HashMap<String, HashSet<String>>,
    /// By rule's id: whether its service was read at all.
    read: HashSet<String>,
}

impl Joined for Joins {
    fn is_there(&self, rule: &Rule, join: &Join, region: &str, known_by: &Value) -> Option<bool> {
        let within = join.same_region.then(|| region.to_owned());
        match self.found.get(&(rule.id.clone(), within, known_by.to_string())) {
            Some(Presence::Yes) => return Some(true),
            Some(Presence::Maybe) => return None,
            None => {}
        }
        let unread = self.unread.get(&rule.id);
        let hidden = unread.is_some_and(|regions| !join.same_region || regions.contains(region));
        (!hidden && self.read.contains(&rule.id)).then_some(false)
    }
}

impl<'a> Examined<'a> {
    pub fn new(rules: &'a [Rule], account: &'a str, lines: &'a [LedgerLine]) -> Self {
        let mut joins = Joins::default();
        for rule in rules {
            let Some(join) = rule.join() else { continue };
            for line in lines.iter().filter(|line| line.cell.service == join.service) {
                joins.read.insert(rule.id.clone());
                if !is_wholly_read(line, &join.kind, &rule.needs) {
                    joins.unread.entry(rule.id.clone()).or_default().insert(line.cell.region.clone());
                }
            }
        }
        Self { rules, account, lines, joins, present: HashMap::new() }
    }

    /// Remembers a record for those that join it.
    pub fn note_joined(&mut self, record: &Record, properties: &Value) {
        for rule in self.rules {
            let Some(join) = rule.join().filter(|join| join.kind == record.kind) else { continue };
            let presence = match join.when.holds(Subject::of(record, properties)) {
                Some(_) => Presence::Yes,
                // What was denied of it might have told otherwise.
                None if !record.denied.is_empty() => Presence::Maybe,
                None => continue,
            };
            for key in join.theirs.of(properties, self.account) {
                let within = join.same_region.then(|| record.region.clone());
                let entry = self.joins.found.entry((rule.id.clone(), within, key.to_string())).or_insert(presence);
                *entry = (*entry).max(presence);
            }
        }
    }

    /// Asks the rules about a record.
    pub fn look_at(
        &mut self,
        line: &LedgerLine,
        record: &Record,
        properties: &Value,
        told: Told<'_>,
    ) -> Result<(), Failure> {
        let lacking = Lacking::of(line);
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.kind() != record.kind {
                continue;
            }
            if let Matter::Absence(absence) = &rule.matter {
                let presence = match absence.when.holds(Subject::of(record, properties)) {
                    Some(_) => Presence::Yes,
                    None if rule.needs.iter().any(|action| record.denied.contains(action)) => Presence::Maybe,
                    None => continue,
                };
                let entry = self.present.entry((index, place(absence.scope, &line.cell.region))).or_insert(presence);
                *entry = (*entry).max(presence);
                continue;
            }
            let whole = !rule.needs.iter().any(|action| lacking.failed(action));
            match judge(rule, record, properties, whole, &self.joins) {
                Verdict::Fine => {}
                Verdict::NotAssessed(gap) => told(Said::Gap { rule: index, gap })?,
                Verdict::Finding(evidence) => told(Said::Finding(Finding {
                    rule: index,
                    account: self.account,
                    region: &record.region,
                    record: Some(record),
                    evidence,
                }))?,
            }
        }
        Ok(())
    }

    /// All records were seen: what is missing, and what was not read.
    pub fn conclude(self, told: Told<'_>) -> Result<(), Failure> {
        for (index, rule) in self.rules.iter().enumerate() {
            let lines = || self.lines.iter().filter(|line| line.cell.service == rule.service && counts(line));
            if !is_about_absence(rule) {
                for _ in lines().filter(|line| !is_wholly_read(line, rule.kind(), &[])) {
                    told(Said::Gap { rule: index, gap: Gap::Unread })?;
                }
                continue;
            }
            let Matter::Absence(absence) = &rule.matter else { continue };
            let mut places: Vec<(String, bool)> = Vec::new();
            for line in lines() {
                let (place, whole) =
                    (place(absence.scope, &line.cell.region), is_wholly_read(line, &absence.kind, &rule.needs));
                match places.iter_mut().find(|(known, _)| *known == place) {
                    Some((_, all)) => *all &= whole,
                    None => places.push((place, whole)),
                }
            }
            for (place, whole) in places {
                match self.present.get(&(index, place.clone())) {
                    Some(Presence::Yes) => {}
                    None if whole => told(Said::Finding(Finding {
                        rule: index,
                        account: self.account,
                        region: &place,
                        record: None,
                        evidence: Vec::new(),
                    }))?,
                    _ => told(Said::Gap { rule: index, gap: Gap::Unread })?,
                }
            }
        }
        Ok(())
    }
}

/// What an absence is told of: a region, or the account.
fn place(scope: RuleScope, region: &str) -> String {
    match scope {
        RuleScope::Region => region.to_owned(),
        RuleScope::Account => fleetscan_proto::GLOBAL.to_owned(),
    }
}

/// Whether a cell is one that something can be expected of: a region that is switched off has nothing.
fn counts(line: &LedgerLine) -> bool {
    line.outcome != Outcome::RegionDisabled
}

/// Whether all records of a type were read in a cell, and what these actions say of them.
fn is_wholly_read(line: &LedgerLine, kind: &str, needs: &[String]) -> bool {
    match line.outcome {
        Outcome::Complete => true,
        Outcome::Partial => {
            let lacking = Lacking::of(line);
            let sources = services::catalogue().service(&line.cell.service).map(|service| sources(service, kind));
            sources.is_some_and(|sources| {
                !sources.iter().copied().chain(needs.iter().map(String::as_str)).any(|action| lacking.any(action))
            })
        }
        _ => false,
    }
}

/// The actions that list records of a type, and those that list what these are asked for.
fn sources<'s>(service: &'s Service, kind: &str) -> Vec<&'s str> {
    let mut found: Vec<&str> = Vec::new();
    for operation in service.operations.iter().filter(|o| o.emits.iter().any(|emit| emit.kind == kind)) {
        let mut next: Option<&Operation> = Some(operation);
        // A family of operations may call itself for its own items.
        while let Some(operation) = next.filter(|operation| !found.contains(&operation.action.as_str())) {
            found.push(&operation.action);
            next = operation.parent.as_ref().map(|parent| &service.operations[parent.operation]);
        }
    }
    found
}

/// What a cell's line says was not answered.
struct Lacking<'a> {
    denied: Vec<&'a str>,
    /// Actions of the operations that failed; none: which did is not known.
    failed: Option<Vec<&'static str>>,
}

impl<'a> Lacking<'a> {
    fn of(line: &'a LedgerLine) -> Self {
        let service = services::catalogue().service(&line.cell.service);
        // One error an operation, `Operation: why`, with semicolons between.
        let action = |part: &str| {
            let (name, _) = part.split_once(':')?;
            Some(service?.operation(name.trim())?.action.as_str())
        };
        let failed = line.error.as_deref().map_or(Some(Vec::new()), |error| error.split(';').map(action).collect());
        Self { denied: line.denied.iter().map(|denial| denial.action.as_str()).collect(), failed }
    }

    fn failed(&self, action: &str) -> bool {
        self.failed.as_ref().is_none_or(|failed| failed.contains(&action))
    }

    fn any(&self, action: &str) -> bool {
        self.denied.contains(&action) || self.failed(action)
    }
}
