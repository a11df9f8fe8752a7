//! What was found, for people and for programs.

use super::properties::{Change, Differences};
use crate::{
    failure::Failure,
    numbers::{grouped, many},
    terminal::Terminal,
};
use fleetscan_proto::{LedgerLine, Manifest, Record};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write};

/// Values longer than this are cut for people; `--json` has them whole.
const WIDEST: usize = 100;

/// By type: what became of its resources.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub unknown: u64,
}

/// Gathers what is found. Memory holds the counts and the lines that are to be shown, never more.
pub struct Report<W: Write> {
    stdout: W,
    json: bool,
    limit: u64,
    terminal: Terminal,
    types: BTreeMap<String, Counts>,
    lines: Vec<String>,
    found: u64,
    /// Cells that only one scan covers, by whether it is the first.
    scope: [u64; 2],
    /// Cells that at least one scan could not read in full.
    unread: u64,
}

impl<W: Write> Report<W> {
    pub fn new(stdout: W, json: bool, limit: u64, terminal: Terminal) -> Self {
        let (types, lines) = (BTreeMap::new(), Vec::new());
        Self { stdout, json, limit, terminal, types, lines, found: 0, scope: [0; 2], unread: 0 }
    }

    pub fn added(&mut self, record: &Record) -> Result<(), Failure> {
        self.counts(record).added += 1;
        self.tell(record, "added", &|_| json!({}), &|_| String::new())
    }

    pub fn removed(&mut self, record: &Record) -> Result<(), Failure> {
        self.counts(record).removed += 1;
        self.tell(record, "removed", &|_| json!({}), &|_| String::new())
    }

    /// A resource that only one scan has, where the other's silence says nothing.
    pub fn unknown(&mut self, record: &Record, only_in: &str, why: &str) -> Result<(), Failure> {
        self.counts(record).unknown += 1;
        let more = |_: &Record| json!({"only_in": only_in, "why": why});
        self.tell(record, "unknown", &more, &|_| format!(": {why}"))
    }

    pub fn compared(&mut self, record: &Record, found: &Differences) -> Result<(), Failure> {
        let change = match (found.changes.is_empty(), found.unknown.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => "unknown",
            (false, _) => "changed",
        };
        let counts = self.counts(record);
        counts.changed += u64::from(change == "changed");
        counts.unknown += u64::from(change == "unknown");
        let more = |_: &Record| {
            let mut more = json!({});
            if change == "unknown" {
                more["why"] = "one scan could not read these properties".into();
            } else {
                more["properties"] = found.changes.iter().map(object).collect();
            }
            if !found.unknown.is_empty() {
                more["unknown"] = json!(found.unknown);
            }
            more
        };
        let text = |_: &Record| {
            let mut text = String::new();
            for change in &found.changes {
                let side =
                    |value: &Option<Value>| value.as_ref().map_or("(none)".to_owned(), |value| cut(&value.to_string()));
                text.push_str(&format!("\n    {}: {} → {}", change.path, side(&change.before), side(&change.after)));
            }
            for path in &found.unknown {
                text.push_str(&format!("\n    {path}: unknown, one scan could not read it"));
            }
            text
        };
        self.tell(record, change, &more, &text)
    }

    /// A cell that only one scan covers.
    pub fn scope(&mut self, line: &LedgerLine, first: bool) -> Result<(), Failure> {
        self.scope[usize::from(!first)] += 1;
        if self.json {
            let only_in = if first { "A" } else { "B" };
            let cell = &line.cell;
            self.write(json!({"change": "scope", "account": cell.account, "region": cell.region,
                "service": cell.service, "only_in": only_in, "outcome": line.outcome, "records": line.totals.records}))?;
        }
        Ok(())
    }

    pub fn unread(&mut self) {
        self.unread += 1;
    }

    fn counts(&mut self, record: &Record) -> &mut Counts {
        self.types.entry(record.kind.clone()).or_default()
    }

    fn tell(
        &mut self,
        record: &Record,
        change: &str,
        more: &dyn Fn(&Record) -> Value,
        text: &dyn Fn(&Record) -> String,
    ) -> Result<(), Failure> {
        self.found += 1;
        if self.found > self.limit {
            return Ok(());
        }
        if !self.json {
            let row = format!(
                "{change:8} {} {} {} {}{}",
                record.kind,
                record.account,
                record.region,
                Terminal::plain(&record.id),
                text(record)
            );
            self.lines.push(row);
            return Ok(());
        }
        let mut object = json!({"change": change, "type": record.kind, "account": record.account,
            "region": record.region, "service": record.service, "id": record.id, "arn": record.arn, "name": record.name});
        if let (Value::Object(object), Value::Object(more)) = (&mut object, more(record)) {
            object.extend(more);
        }
        self.write(object)
    }

    fn write(&mut self, object: Value) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{object}")?)
    }

    /// The counts, at the end of `--json` and before the lines for people.
    pub fn finish(mut self, a: &Manifest, b: &Manifest, comparable: bool) -> Result<u64, Failure> {
        let mut sum = Counts::default();
        for counts in self.types.values() {
            sum.added += counts.added;
            sum.removed += counts.removed;
            sum.changed += counts.changed;
            sum.unknown += counts.unknown;
        }
        if self.json {
            let of = |c: &Counts| json!({"added": c.added, "removed": c.removed, "changed": c.changed, "unknown": c.unknown});
            let types: serde_json::Map<String, Value> =
                self.types.iter().map(|(kind, c)| (kind.clone(), of(c))).collect();
            let mut last = of(&sum);
            last["change"] = "summary".into();
            last["a"] = json!(a.scan);
            last["b"] = json!(b.scan);
            last["same_catalogue_and_profile"] = comparable.into();
            last["cells_not_read"] = self.unread.into();
            last["cells_only_in_a"] = self.scope[0].into();
            last["cells_only_in_b"] = self.scope[1].into();
            last["types"] = Value::Object(types);
            self.write(last)?;
        } else {
            self.table(a, b, &sum)?;
        }
        self.stdout.flush()?;
        Ok(sum.unknown)
    }

    fn table(&mut self, a: &Manifest, b: &Manifest, sum: &Counts) -> Result<(), Failure> {
        let terminal = self.terminal;
        let out = &mut self.stdout;
        writeln!(out, "{} → {}", a.scan, b.scan)?;
        let width = self.types.keys().map(String::len).max().unwrap_or_default().max(5);
        let row = |name: &str, c: &Counts| {
            let [added, removed, changed, unknown] = [c.added, c.removed, c.changed, c.unknown].map(grouped);
            format!("{name:width$}  {added:>9}  {removed:>9}  {changed:>9}  {unknown:>9}")
        };
        let head = format!("{:width$}  {:>9}  {:>9}  {:>9}  {:>9}", "type", "added", "removed", "changed", "unknown");
        writeln!(out, "{}", terminal.bold(&head))?;
        for (kind, counts) in &self.types {
            writeln!(out, "{}", row(kind, counts))?;
        }
        writeln!(out, "{}", row("all", sum))?;
        for (cells, which) in self.scope.iter().zip(["first", "second"]) {
            if *cells > 0 {
                writeln!(out, "{} only in the {which} scan's scope: not compared", many(*cells, "cell"))?;
            }
        }
        if self.unread > 0 {
            writeln!(
                out,
                "{} not read in full by both scans: what only one has there is unknown",
                many(self.unread, "cell")
            )?;
        }
        if !self.lines.is_empty() {
            writeln!(out)?;
        }
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        let more = self.found.saturating_sub(self.limit);
        if more > 0 {
            writeln!(out, "{}", terminal.dim(&format!("{} more: --limit", grouped(more))))?;
        }
        Ok(())
    }
}

fn object(change: &Change) -> Value {
    let mut object = json!({"path": change.path});
    if let Some(before) = &change.before {
        object["before"] = before.clone();
    }
    if let Some(after) = &change.after {
        object["after"] = after.clone();
    }
    object
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
