//! Insights: what a reviewer would flag, found in records by rules that are files.
//!
//! A [`Rule`] names a type of record and a [`Condition`] on its properties, or on those of records joined to it, or the
//! absence of any such record. What a rule needs and was denied leaves it silent, and counted as not assessed.

mod condition;
mod judge;
mod network;
mod policy;
mod rule;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Evidence, Subject};
pub use judge::{Gap, Joined, Verdict, judge};
pub use rule::{Absence, Join, JoinKey, Matter, Rule, RuleError, RuleScope, Severity};

const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/insight_files.rs"));

/// The rules that fleetscan brings along, the gravest first.
///
/// # Errors
/// Never for the files of a release; a test reads them all.
pub fn built_in() -> Result<Vec<Rule>, RuleError> {
    rules(FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
}

/// Rules from files, as (name, text), the gravest first.
///
/// # Errors
/// The first file that is none, or two rules of one id.
pub fn rules(files: impl IntoIterator<Item = (String, String)>) -> Result<Vec<Rule>, RuleError> {
    let mut rules: Vec<Rule> = Vec::new();
    for (name, text) in files {
        let rule = Rule::parse(&name, &text)?;
        if rules.iter().any(|other| other.id == rule.id) {
            return Err(RuleError::new(&name, format!("another rule is called {} too", rule.id)));
        }
        rules.push(rule);
    }
    rules.sort_by(|a, b| (b.severity, &a.id).cmp(&(a.severity, &b.id)));
    Ok(rules)
}
