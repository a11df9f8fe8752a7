use super::account::{Finding, Said};
use crate::{
    failure::Failure,
    numbers::{grouped, many},
    summary::wrapped,
    terminal::Terminal,
};
use fleetscan_proto::{
    ScanId,
    insight::{Gap, Rule, Severity},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, io::Write};

/// Columns that every terminal has.
const NARROW: usize = 80;

/// What the rules found, counted; of each rule's findings the first few.
pub struct Report<'a> {
    rules: &'a [Rule],
    limit: usize,
    found: Vec<Found>,
    /// Accounts that were looked at.
    pub accounts: u64,
}

#[derive(Default, Clone)]
struct Found {
    count: u64,
    /// A line each.
    first: Vec<String>,
    gaps: BTreeMap<Gap, u64>,
}

impl<'a> Report<'a> {
    pub fn new(rules: &'a [Rule], limit: usize) -> Self {
        Self { rules, limit, found: vec![Found::default(); rules.len()], accounts: 0 }
    }

    /// Takes what a rule said; a finding is written to `json` too, where it is.
    pub fn take(&mut self, said: Said<'_>, json: &mut Option<&mut dyn Write>) -> Result<(), Failure> {
        match said {
            Said::Gap { rule, gap } => *self.found[rule].gaps.entry(gap).or_default() += 1,
            Said::Finding(finding) => {
                let found = &mut self.found[finding.rule];
                found.count += 1;
                if let Some(json) = json {
                    writeln!(json, "{}", object(&self.rules[finding.rule], &finding))?;
                } else if found.first.len() < self.limit {
                    found.first.push(line(&finding));
                }
            }
        }
        Ok(())
    }

    /// The gravest severity of which there is a finding.
    pub fn worst(&self) -> Option<Severity> {
        self.each().filter(|(_, found)| found.count > 0).map(|(rule, _)| rule.severity).max()
    }

    /// Findings by severity and by rule.
    pub fn counts(&self) -> impl Iterator<Item = (&'a Rule, u64)> + '_ {
        self.each().map(|(rule, found)| (rule, found.count))
    }

    fn each(&self) -> impl Iterator<Item = (&'a Rule, &Found)> {
        self.rules.iter().zip(&self.found)
    }

    /// What could not be assessed, an object a rule.
    pub fn write_gaps(&self, to: &mut dyn Write) -> Result<(), Failure> {
        for (rule, found) in self.each().filter(|(_, found)| !found.gaps.is_empty()) {
            let because: Vec<Value> =
                found.gaps.iter().map(|(gap, times)| json!({ "because": because(gap), "times": times })).collect();
            writeln!(to, "{}", json!({ "rule": rule.id, "severity": rule.severity, "not_assessed": because }))?;
        }
        Ok(())
    }

    pub fn text(&self, scan: &ScanId, terminal: Terminal) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for severity in Severity::ALL {
            let of = || self.each().filter(move |(rule, found)| rule.severity == severity && found.count > 0);
            let count: u64 = of().map(|(_, found)| found.count).sum();
            if count == 0 {
                continue;
            }
            let title = format!("{severity}: {}", many(count, "finding"));
            let _ = writeln!(text, "{}\n", coloured(severity, &terminal.bold(&title), terminal));
            for (rule, found) in of() {
                self.rule(rule, found, terminal, &mut text);
            }
        }
        let silent = self.each().filter(|(_, found)| found.count == 0 && found.gaps.is_empty()).count();
        let _ = writeln!(
            text,
            "{} over {} in scan {scan}: {} found nothing",
            many(self.rules.len() as u64, "rule"),
            many(self.accounts, "account"),
            grouped(silent as u64),
        );
        self.gaps(terminal, &mut text);
        text
    }

    fn rule(&self, rule: &Rule, found: &Found, terminal: Terminal, text: &mut String) {
        // Side by side where a narrow terminal has room for both.
        let between = if rule.title.len() + rule.id.len() + 4 <= NARROW { "  " } else { "\n    " };
        let _ = writeln!(text, "  {}{between}{}", terminal.bold(&rule.title), terminal.dim(&rule.id));
        let _ = writeln!(text, "{}\n{}", wrapped(&rule.why, 4), wrapped(&format!("→ {}", rule.fix), 4));
        for line in &found.first {
            let _ = writeln!(text, "      {line}");
        }
        let more = found.count.saturating_sub(found.first.len() as u64);
        if more > 0 {
            let hint = format!("… and {} more: --rule {} --limit N, or --json", grouped(more), rule.id);
            let _ = writeln!(text, "      {}", terminal.dim(&hint));
        }
        text.push('\n');
    }

    fn gaps(&self, terminal: Terminal, text: &mut String) {
        let mut reasons: BTreeMap<String, (u64, Vec<&str>)> = BTreeMap::new();
        for (rule, found) in self.each() {
            for (gap, times) in &found.gaps {
                let entry = reasons.entry(because(gap)).or_default();
                entry.0 += times;
                entry.1.push(&rule.id);
            }
        }
        if reasons.is_empty() {
            return;
        }
        let _ = writeln!(text, "{}", terminal.yellow("Not assessed, neither good nor bad:"));
        for (reason, (times, rules)) in reasons {
            let shown: Vec<&str> = rules.iter().take(3).copied().collect();
            let more = if rules.len() > 3 { format!(" and {} more", rules.len() - 3) } else { String::new() };
            let _ = writeln!(text, "  {:>8} times  {reason}: {}{more}", grouped(times), shown.join(", "));
        }
    }
}

/// A rule, as JSON.
pub fn about(rule: &Rule) -> Value {
    json!({
        "id": rule.id, "severity": rule.severity, "title": rule.title, "why": rule.why, "fix": rule.fix,
        "service": rule.service, "type": rule.kind(), "needs": rule.needs,
    })
}

fn object(rule: &Rule, finding: &Finding<'_>) -> Value {
    let evidence: Vec<Value> =
        finding.evidence.iter().map(|evidence| json!({ "path": evidence.path, "value": evidence.value })).collect();
    json!({
        "rule": rule.id, "severity": rule.severity, "title": rule.title, "account": finding.account,
        "region": finding.region, "service": rule.service, "type": rule.kind(),
        "id": finding.record.map(|record| &record.id), "arn": finding.record.and_then(|record| record.arn.as_ref()),
        "name": finding.record.and_then(|record| record.name.as_ref()), "evidence": evidence, "why": rule.why,
        "fix": rule.fix,
    })
}

fn line(finding: &Finding<'_>) -> String {
    let what = match finding.record {
        Some(record) => record.arn.as_ref().unwrap_or(&record.id),
        None => "none",
    };
    format!("{:12}  {:14}  {}", finding.account, finding.region, Terminal::plain(what))
}

fn because(gap: &Gap) -> String {
    match gap {
        Gap::Denied(action) => format!("{action} was denied"),
        Gap::Unread => "the cell was not read to its end".to_owned(),
        Gap::Joined(service) => format!("{service} was not read to its end"),
    }
}

/// A text in the colour of its severity.
pub fn coloured(severity: Severity, text: &str, terminal: Terminal) -> String {
    match severity {
        Severity::Critical | Severity::High => terminal.red(text),
        Severity::Medium => terminal.yellow(text),
        Severity::Low => text.to_owned(),
    }
}
