//! What the operator wrote: a TOML file of accounts, judged as a whole, so that one run shows every mistake.
//!
//! No text made here repeats a role ARN or an ExternalId, however misplaced: problems go to terminals and logs.

mod csv_file;
mod entry;
mod findings;
mod nearest;
#[cfg(test)]
mod tests;

pub use nearest::distance;

use entry::{Entries, KEYS};
use findings::Findings;
use fleetscan_proto::Account;
use std::{fmt, sync::Arc};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The accounts of an accounts file, in the order of the file; no two have the same id.
#[derive(Debug)]
pub struct AccountsFile {
    /// At least one.
    pub accounts: Vec<Account>,
    /// What was read all the same, but looks like a slip.
    pub warnings: Vec<Problem>,
}

/// A mistake in an accounts file: where, what is wrong, and what to write instead. Shown as `file:line:column: text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// One line; never a role ARN or an ExternalId.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.text)
    }
}

/// An accounts file, judged: what can be used of it, and what cannot.
#[derive(Debug)]
pub struct Judged {
    /// The accounts without a mistake.
    pub accounts: Vec<Account>,
    /// Mistakes, in the order of the file.
    pub errors: Vec<Problem>,
    /// What was read all the same, but looks like a slip.
    pub warnings: Vec<Problem>,
}

impl Judged {
    /// Nothing can be used, because of this.
    fn broken(problem: Problem) -> Self {
        Self { accounts: Vec::new(), errors: vec![problem], warnings: Vec::new() }
    }
}

impl AccountsFile {
    /// Reads the text of the file called `name`: every mistake, or the accounts.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let Judged { accounts, errors, warnings } = Self::judge(name, text);
        if errors.is_empty() { Ok(Self { accounts, warnings }) } else { Err(errors) }
    }

    /// Reads the text of the file called `name`. Answers every mistake, and the accounts without one.
    ///
    /// Where the TOML itself is broken, the accounts that the break does not touch are judged as well.
    pub fn judge(name: &str, text: &str) -> Judged {
        let mut findings = Findings::new(name, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        let breaks: Vec<usize> = errors.iter().map(|error| report_break(error, text, &mut findings)).collect();
        let mut entries = Entries::new(&mut findings);
        for (key, value) in document.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("account", DeValue::Array(list)) => {
                    read_list(list.iter().collect(), &breaks, text.len(), &mut entries)
                }
                ("account", _) => {
                    entries.error(key.span().start, "write [[account]], with two brackets, above each account")
                }
                // A broken header loses its account: what it held is then found here, and was told of already.
                (known, _) if KEYS.contains(&known) && breaks.iter().any(|at| *at < key.span().start) => {}
                (known, _) if KEYS.contains(&known) => {
                    entries.error(key.span().start, &format!("{known} is of no account: write [[account]] above it"));
                }
                (unknown, _) => {
                    entries.error(key.span().start, &nearest::unknown_key(unknown, &["account"], "the file"))
                }
            }
        }
        let accounts = entries.accounts;
        if accounts.is_empty() && findings.errors.is_empty() {
            findings.errors.push((0, "no account: write [[account]] with id, role_arn and external_id".to_owned()));
        }
        let (errors, warnings) = findings.placed();
        Judged { accounts, errors, warnings }
    }
}

/// Reads each account, except where the TOML breaks between it and the next: what was recovered there may not be
/// what the operator meant, and would be reported twice.
fn read_list(list: Vec<&Spanned<DeValue<'_>>>, breaks: &[usize], end: usize, entries: &mut Entries<'_, '_>) {
    let starts: Vec<usize> = list.iter().map(|item| item.span().start).chain([end + 1]).collect();
    let mut breaks = breaks.to_vec();
    breaks.sort_unstable();
    for (item, bounds) in list.into_iter().zip(starts.windows(2)) {
        let next = breaks.partition_point(|at| *at < bounds[0]);
        if breaks.get(next).is_some_and(|at| *at < bounds[1]) {
            continue;
        }
        match item.get_ref() {
            DeValue::Table(table) => entries.read(bounds[0], table),
            _ => entries.error(bounds[0], "this is not an account: write [[account]] and its keys below"),
        }
    }
}

/// Reports where the text is not TOML; answers the place. The parser's own texts are fixed and quote nothing.
fn report_break(error: &toml::de::Error, text: &str, findings: &mut Findings<'_>) -> usize {
    let at = text.floor_char_boundary(error.span().unwrap_or_default().start);
    let line_start = findings.line_start(at);
    // A slip often breaks the rest of its line too: the first report of a line is the one that says it.
    if findings.broken_lines.insert(line_start) {
        let hint = match error.message() {
            "duplicate key" => "remove one of the two".to_owned(),
            _ => mend(&text[line_start..at]),
        };
        findings.errors.push((at, format!("not TOML: {}; {hint}", error.message())));
    }
    at
}

/// What to write instead of a line that breaks after `before`.
fn mend(before: &str) -> String {
    match before.split(['=', ':']).next().unwrap_or_default().trim() {
        "id" => "write the id in quotes: id = \"111122223333\"".to_owned(),
        key @ ("role_arn" | "external_id" | "name" | "customer" | "cloudtrail_bucket") => {
            format!("write {key} as text in double quotes, on one line")
        }
        "regions" => "write a list in brackets: regions = [\"eu-west-1\", \"us-east-1\"]".to_owned(),
        header if header.starts_with('[') => "write [[account]] on a line of its own".to_owned(),
        _ => "write each key on a line of its own: key = \"value\"".to_owned(),
    }
}
