use super::condition::{Condition, RawCondition};
use crate::catalogue::FieldPath;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, fmt};

/// A rule's file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct RuleError {
    file: String,
    why: String,
}

impl RuleError {
    pub(super) fn new(file: &str, why: impl Into<String>) -> Self {
        Self { file: file.to_owned(), why: why.into() }
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Low,
    /// To be mended in the ordinary course.
    Medium,
    /// To be mended soon.
    High,
    /// Anybody may be in already.
    Critical,
}

impl Severity {
    /// All, the gravest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, for programs: `s3-bucket-public`.
    pub id: String,
    /// A finding, in half a sentence.
    pub title: String,
    /// How grave it is.
    pub severity: Severity,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub fix: String,
    /// The catalogue's id of the service whose records it looks at.
    pub service: String,
    /// Actions without whose answers nothing can be said of a record: `iam:ListMFADevices`.
    pub needs: Vec<String>,
    /// What it looks for.
    pub matter: Matter,
}

/// What a rule looks for.
#[derive(Debug, Clone)]
pub enum Matter {
    /// A record of this type for which the condition holds, and the join where there is one.
    Record {
        /// CloudFormation's name of the type.
        kind: String,
        /// On its properties.
        when: Condition,
        /// On records that belong to it.
        join: Option<Box<Join>>,
    },
    /// That no record of this type is there.
    Absence(Absence),
}

/// Other records of the same account that belong to one.
#[derive(Debug, Clone)]
pub struct Join {
    /// Their type.
    pub kind: String,
    /// The catalogue's id of their service.
    pub service: String,
    /// What they are known by.
    pub theirs: JoinKey,
    /// Where the record says the same.
    pub ours: JoinKey,
    /// Only those count for which this holds.
    pub when: Condition,
    /// Whether there must be some, or none, for the rule to fire.
    pub some: bool,
    /// They lie in the record's region; else in any, or in none (IAM's).
    pub same_region: bool,
}

/// What records are joined by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinKey {
    /// The account itself: written `$account`.
    Account,
    /// Values among the properties.
    Path(FieldPath),
}

impl JoinKey {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "$account" => Ok(Self::Account),
            text => FieldPath::parse(text).map(Self::Path).map_err(|error| error.to_string()),
        }
    }

    /// The values in a record's properties.
    pub fn of<'v>(&self, properties: &'v Value, account: &str) -> Vec<Cow<'v, Value>> {
        match self {
            Self::Account => vec![Cow::Owned(Value::String(account.to_owned()))],
            Self::Path(path) => path.items(properties).into_iter().map(Cow::Borrowed).collect(),
        }
    }
}

impl fmt::Display for JoinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("$account"),
            Self::Path(path) => f.write_str(path.as_str()),
        }
    }
}

/// What an absence is felt in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleScope {
    /// Each region of an account.
    Region,
    /// The account.
    Account,
}

/// The absence of any record of a type.
#[derive(Debug, Clone)]
pub struct Absence {
    /// The type.
    pub kind: String,
    /// Only those count for which this holds.
    pub when: Condition,
    /// Where one is expected.
    pub scope: RuleScope,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    title: String,
    severity: Severity,
    why: String,
    fix: String,
    service: String,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
    when: Option<RawCondition>,
    join: Option<RawJoin>,
    absent: Option<RawAbsence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJoin {
    #[serde(rename = "type")]
    kind: String,
    service: String,
    theirs: String,
    ours: String,
    when: Option<RawCondition>,
    expect: Expect,
    #[serde(default)]
    same_region: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Some,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAbsence {
    scope: RawScope,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawScope {
    Region,
    Account,
}

impl Rule {
    /// Reads a rule; `file` is named in errors.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Self, RuleError> {
        let wrong = |why: String| RuleError::new(file, why);
        let raw: RawRule = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if raw.id.is_empty() || !raw.id.chars().all(plain) {
            return Err(wrong(format!("id {:?}: write small letters, digits and hyphens", raw.id)));
        }
        for (name, text) in [("title", &raw.title), ("why", &raw.why), ("fix", &raw.fix)] {
            if text.trim().is_empty() {
                return Err(wrong(format!("{name} is empty")));
            }
        }
        if let Some(action) = raw.needs.iter().find(|action| action.split(':').filter(|w| !w.is_empty()).count() != 2) {
            return Err(wrong(format!("needs has {action:?}: write service:Action")));
        }
        let condition = |raw: Option<RawCondition>| match raw {
            Some(raw) => Condition::read(raw).map_err(|why| RuleError::new(file, why)),
            None => Ok(Condition::All(Vec::new())),
        };
        let key = |text: &str| JoinKey::parse(text).map_err(|why| RuleError::new(file, why));
        let matter = match (raw.absent, raw.join) {
            (Some(_), Some(_)) => return Err(wrong("a rule has `join` or `absent`, not both".into())),
            (Some(absent), None) => {
                let scope = match absent.scope {
                    RawScope::Region => RuleScope::Region,
                    RawScope::Account => RuleScope::Account,
                };
                Matter::Absence(Absence { kind: raw.kind, when: condition(raw.when)?, scope })
            }
            (None, None) if raw.when.is_none() => return Err(wrong("a rule needs `when`, `join` or `absent`".into())),
            (None, join) => {
                let join = join.map(|join| {
                    Ok(Box::new(Join {
                        kind: join.kind,
                        service: join.service,
                        theirs: key(&join.theirs)?,
                        ours: key(&join.ours)?,
                        when: condition(join.when)?,
                        some: matches!(join.expect, Expect::Some),
                        same_region: join.same_region,
                    }))
                });
                Matter::Record { kind: raw.kind, when: condition(raw.when)?, join: join.transpose()? }
            }
        };
        Ok(Self {
            id: raw.id,
            title: raw.title,
            severity: raw.severity,
            why: raw.why,
            fix: raw.fix,
            service: raw.service,
            needs: raw.needs,
            matter,
        })
    }

    /// The type of record that it looks at, or misses.
    pub fn kind(&self) -> &str {
        match &self.matter {
            Matter::Record { kind, .. } => kind,
            Matter::Absence(absence) => &absence.kind,
        }
    }

    /// Its join, where it has one.
    pub fn join(&self) -> Option<&Join> {
        match &self.matter {
            Matter::Record { join, .. } => join.as_deref(),
            Matter::Absence(_) => None,
        }
    }
}
