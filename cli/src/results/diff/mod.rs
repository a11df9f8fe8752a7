//! `fleetscan results diff`: what changed between two scans, and what cannot be known to have changed.
//!
//! The ledgers of both are in the order of their cells and are joined as they are read; one cell after another is compared.

mod cell;
mod paths;
mod properties;
mod report;

use crate::{
    args::DiffArgs,
    display,
    failure::{COMPLETE, Failure},
    numbers::many,
    out::Out,
    terminal::Terminal,
};
use cell::{Side, join};
use fleetscan_coordinator::{LedgerReader, read_ledger};
use fleetscan_proto::{Cell, LedgerLine, Manifest, Outcome, Record, ResultPaths};
use paths::Paths;
use properties::{Full, Rules};
use report::Report;
use std::{cmp::Ordering, io::Write};

/// Changes shown to people where `--limit` does not say.
const SHOWN: u64 = 50;

pub async fn run(args: DiffArgs, terminal: Terminal) -> Result<u8, Failure> {
    let out = Out::open_existing(&args.out)?;
    let (a, b) = scans(&args, &out).await?;
    let mut ignored = if args.all_properties { Paths::default() } else { Paths::volatile() };
    args.ignore.iter().for_each(|path| ignored.add(path));
    let rules = Rules { ignored, ordered: Paths::ordered() };
    let limit = args.limit.unwrap_or(if args.json { u64::MAX } else { SHOWN });
    let stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let mut report = Report::new(stdout, args.json, limit, terminal);
    let comparable = a.profile == b.profile && a.catalogue == b.catalogue;
    let comparison = Comparison { args: &args, out: &out, a: &a, b: &b, rules, comparable };
    comparison.run(&mut report).await?;
    let unknown = report.finish(&a, &b, comparable)?;
    if !comparable {
        display::note("the scans differ in profile or catalogue: what only one has is unknown, not added or removed");
    }
    if unknown > 0 {
        display::note(&format!(
            "{} unknown, because a scan did not read it: `fleetscan results ledger --holes` says which cells, and why",
            many(unknown, "resource")
        ));
    }
    Ok(COMPLETE)
}

/// The two scans: as named, or else the two that began last; with one name, that one and the newest.
async fn scans(args: &DiffArgs, out: &Out) -> Result<(Manifest, Manifest), Failure> {
    if let (Some(a), Some(b)) = (&args.a, &args.b) {
        return Ok((out.manifest(Some(a)).await?, out.manifest(Some(b)).await?));
    }
    let mut finished = Vec::new();
    for id in out.scans().await? {
        finished.extend(out.find_manifest(&id).await?);
    }
    finished.sort_by_key(|manifest| manifest.started_at);
    let newest = finished.pop().ok_or_else(|| Failure::usage(format!("there is no finished scan in {}", out.name)))?;
    let first = match &args.a {
        Some(a) => Some(out.manifest(Some(a)).await?),
        None => finished.pop(),
    };
    let first = first.ok_or_else(|| {
        Failure::usage(format!("there is only one finished scan in {}: a comparison needs two", out.name))
    })?;
    Ok((first, newest))
}

struct Comparison<'a> {
    args: &'a DiffArgs,
    out: &'a Out,
    a: &'a Manifest,
    b: &'a Manifest,
    rules: Rules,
    comparable: bool,
}

impl Comparison<'_> {
    async fn run<W: Write>(&self, report: &mut Report<W>) -> Result<(), Failure> {
        let (mut left, mut right) = (Lines::open(self.out, self.a).await?, Lines::open(self.out, self.b).await?);
        loop {
            let order = match (&left.next, &right.next) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.cell.cmp(&b.cell),
            };
            let a = if order.is_le() { left.take()? } else { None };
            let b = if order.is_ge() { right.take()? } else { None };
            match (&a, &b) {
                (Some(line), _) | (_, Some(line)) if !self.chosen(&line.cell) => {}
                (Some(a), Some(b)) => self.cell(a, b, report).await?,
                (Some(line), None) => report.scope(line, true)?,
                (None, Some(line)) => report.scope(line, false)?,
                (None, None) => return Ok(()),
            }
        }
    }

    fn chosen(&self, cell: &Cell) -> bool {
        let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        among(&self.args.account, cell.account.as_str())
            && among(&self.args.region, &cell.region)
            && among(&self.args.service, &cell.service)
    }

    async fn cell<W: Write>(&self, a: &LedgerLine, b: &LedgerLine, report: &mut Report<W>) -> Result<(), Failure> {
        let whole = |line: &LedgerLine| line.outcome == Outcome::Complete;
        let comparable = self.comparable && a.catalogue == b.catalogue;
        let full = Full { before: comparable && whole(a), after: comparable && whole(b) };
        if !whole(a) || !whole(b) {
            report.unread();
        }
        let why = self.why(a, b);
        // Both must have been read in full: a partial reading may have kept a resource that was there all along.
        let known = full.before && full.after;
        let wanted = |record: &Record| self.args.types.is_empty() || self.args.types.contains(&record.kind);
        let sides = (Side { scan: &self.a.scan, line: Some(a) }, Side { scan: &self.b.scan, line: Some(b) });
        join(self.out, sides.0, sides.1, None, &mut |before, after| match (before, after) {
            (Some(record), _) | (_, Some(record)) if !wanted(record) => Ok(()),
            (Some(before), Some(after)) => report.compared(after, &self.rules.compare(before, after, full)),
            (Some(before), None) if known => report.removed(before),
            (Some(before), None) => report.unknown(before, "A", &why),
            (None, Some(after)) if full.before => report.added(after),
            (None, Some(after)) => report.unknown(after, "B", &why),
            (None, None) => Ok(()),
        })
        .await
    }

    /// Why what only one scan has in a cell is unknown.
    fn why(&self, a: &LedgerLine, b: &LedgerLine) -> String {
        match (a.outcome, b.outcome) {
            (Outcome::Complete, Outcome::Complete) if self.comparable => {
                "its cell was read with another catalogue".to_owned()
            }
            (Outcome::Complete, Outcome::Complete) => "the scans differ in profile or catalogue".to_owned(),
            (a, Outcome::Complete) => format!("its cell is {a} in the first scan"),
            (Outcome::Complete, b) => format!("its cell is {b} in the second scan"),
            (a, b) => format!("its cell is {a} in the first scan and {b} in the second"),
        }
    }
}

/// A ledger's lines, one ahead.
struct Lines {
    reader: LedgerReader,
    next: Option<LedgerLine>,
}

impl Lines {
    async fn open(out: &Out, manifest: &Manifest) -> Result<Self, Failure> {
        let mut reader = read_ledger(out.sink.as_ref(), &ResultPaths(&manifest.scan).ledger()).await?;
        let next = reader.next().transpose()?;
        Ok(Self { reader, next })
    }

    /// The next line; cells out of order would make the join say things that are not so.
    fn take(&mut self) -> Result<Option<LedgerLine>, Failure> {
        let following = self.reader.next().transpose()?;
        if let (Some(now), Some(then)) = (&self.next, &following)
            && now.cell >= then.cell
        {
            return Err(Failure::failed(format!("a ledger is not in order at {}", then.cell)));
        }
        Ok(std::mem::replace(&mut self.next, following))
    }
}
