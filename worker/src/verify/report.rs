use super::{
    Cannot,
    excess::{Excess, Severity},
};
use fleetscan_proto::AccountId;
use jiff::Timestamp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The role lets in whoever comes through fleetscan, for whichever customer: a confused deputy.
    ExternalIdIgnored,
    /// Whether it does could not be tried.
    ExternalIdUntried,
    /// What the policies give could not be read.
    PoliciesUnread,
    /// Needed, and not granted.
    Lacking,
    /// Needed, and granted for some resources or under conditions.
    Partly,
    /// Not needed, and everything.
    Administrator,
    /// Not needed, and rights over rights.
    Escalation,
    /// Not needed, and secrets or data.
    Secrets,
    /// Not needed, and changes.
    Writing,
    /// Not needed, and harmless.
    Reading,
}

/// Something to mend, or to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What it is about.
    pub kind: Kind,
    /// What is so, for people.
    pub says: String,
    /// What to do.
    pub fix: String,
    /// IAM actions, or patterns of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// Policies that grant them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

impl Finding {
    fn new(severity: Severity, kind: Kind, says: impl Into<String>, fix: &str) -> Self {
        Self { severity, kind, says: says.into(), fix: fix.to_owned(), actions: Vec::new(), policies: Vec::new() }
    }

    /// Something that could not be looked at.
    pub(super) fn unknown(kind: Kind, says: impl Into<String>) -> Self {
        Self::new(Severity::Medium, kind, says, "Verify again; if it stays so, see `fleetscan doctor`.")
    }

    /// An action that the profile reads, and that was denied when it was asked for.
    pub(super) fn denied(action: &str) -> Self {
        let says = "The profile reads this, and the role was denied it: what its policies grant is not known, and scans will say denied.";
        let fix = "Update the stack from the newest template, or attach its policies again; a service control policy may deny it as well.";
        Self { actions: vec![action.to_owned()], ..Self::new(Severity::Medium, Kind::Lacking, says, fix) }
    }

    /// Rights beyond need, each with the policies that grant it.
    pub(super) fn excess(excess: Excess, what: BTreeMap<String, BTreeSet<String>>) -> Self {
        let (kind, says, fix) = match excess {
            Excess::Administrator => (
                Kind::Administrator,
                "The role may do everything in the account.",
                "Detach the policy: the template grants what is read, and no more.",
            ),
            Excess::Escalation => (
                Kind::Escalation,
                "The role may hand out rights, or take other roles: who has it can get the whole account.",
                "Take these actions from the role: reading configuration needs none of them.",
            ),
            Excess::Secrets => (
                Kind::Secrets,
                "The role may read secrets, data or credentials. fleetscan never does, and narrows its sessions; whoever else gets hold of the role can.",
                "Deny these actions, or grant the template's policies instead.",
            ),
            Excess::Writing => (
                Kind::Writing,
                "The role may change things in the account.",
                "Take these actions from the role: reading configuration needs none of them.",
            ),
            Excess::Reading => (
                Kind::Reading,
                "The role may read more configuration than the profile does.",
                "Nothing need be done; the template grants less.",
            ),
        };
        let policies: BTreeSet<String> = what.values().flatten().cloned().collect();
        Self {
            actions: what.into_keys().collect(),
            policies: policies.into_iter().collect(),
            ..Self::new(excess.severity(), kind, says, fix)
        }
    }

    /// Whether it is more than something to know.
    pub fn is_hole(&self) -> bool {
        self.severity != Severity::Low
    }
}

/// The needed actions, by what the role's policies say of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// How many are allowed.
    pub allowed: usize,
    /// Allowed on some resources.
    pub some_resources: Vec<String>,
    /// Allowed under conditions, which were not evaluated.
    pub conditional: Vec<String>,
    /// Not allowed.
    pub lacking: Vec<String>,
    /// Not allowed by the permissions boundary.
    pub bounded: Vec<String>,
    /// Denied.
    pub denied: Vec<String>,
}

/// What the needed actions call for.
pub(super) fn findings_of(rights: &Rights) -> Vec<Finding> {
    let finding = |kind, says: &str, fix: &str, actions: &[String]| {
        let found = Finding { actions: actions.to_vec(), ..Finding::new(Severity::Medium, kind, says, fix) };
        (!actions.is_empty()).then_some(found)
    };
    [
        finding(
            Kind::Lacking,
            "The profile reads these, and no policy of the role allows them: scans will say denied.",
            "Update the stack from the newest template, or attach its policies again.",
            &rights.lacking,
        ),
        finding(
            Kind::Lacking,
            "The profile reads these, and a policy of the role denies them: scans will say denied.",
            "Take them from the Deny.",
            &rights.denied,
        ),
        finding(
            Kind::Lacking,
            "The profile reads these, and the role's permissions boundary does not allow them: scans will say denied.",
            "Let the boundary allow them; `fleetscan catalogue policy --of boundary` prints one that does.",
            &rights.bounded,
        ),
        finding(
            Kind::Partly,
            "The profile reads these, and the role allows them on some resources only: most lists need all.",
            "Let the statement hold for Resource \"*\".",
            &rights.some_resources,
        ),
        finding(
            Kind::Partly,
            "The profile reads these, and the role allows them under conditions, which cannot be tried from here.",
            "See whether the conditions hold for fleetscan's sessions; the next scan tells.",
            &rights.conditional,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How an account stands after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As it should be.
    Fine,
    /// Something is to be mended.
    Holes,
    /// It could not be looked at.
    Cannot,
}

/// What a look at an account's role found.
#[derive(Debug, Clone)]
pub struct Verification {
    /// Which account.
    pub account: AccountId,
    /// When it let us in, as the account that it should be.
    pub let_in_at: Option<Timestamp>,
    /// For how long it did not yet.
    pub waited: Duration,
    /// How often AssumeRole was asked in vain.
    pub tries: u32,
    /// Without an ExternalId it is refused; `None`: not tried.
    pub refuses_none: Option<bool>,
    /// With a wrong one it is refused; `None`: not tried.
    pub refuses_wrong: Option<bool>,
    /// What the role's policies say of the needed actions; `None`: they were not read.
    pub rights: Option<Rights>,
    /// Why they were not read.
    pub unread: Option<String>,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// Why the look ended early.
    pub cannot: Option<String>,
}

impl Verification {
    pub(super) fn new(account: AccountId) -> Self {
        Self {
            account,
            let_in_at: None,
            waited: Duration::ZERO,
            tries: 0,
            refuses_none: None,
            refuses_wrong: None,
            rights: None,
            unread: None,
            findings: Vec::new(),
            cannot: None,
        }
    }

    pub(super) fn ended(mut self, cannot: Cannot) -> Self {
        self.cannot = Some(match cannot {
            Cannot::Now(why) | Cannot::Role(why) => why,
        });
        self
    }

    /// A look that could not begin.
    pub fn not_begun(account: AccountId, why: String) -> Self {
        Self { cannot: Some(why), ..Self::new(account) }
    }

    /// What the negative probes mean.
    pub(super) fn judge_trust(&mut self) {
        const FIX: &str = "In the role's trust policy, add to the statement with sts:AssumeRole: \"Condition\": {\"StringEquals\": {\"sts:ExternalId\": \"<its ExternalId>\"}}; the template has it.";
        let says = match (self.refuses_none, self.refuses_wrong) {
            (Some(false), _) => {
                "The role lets fleetscan in without its ExternalId: a confused deputy. Anybody who can make fleetscan use this role's ARN, another customer for one, reads this account."
            }
            (_, Some(false)) => {
                "The role lets fleetscan in with any ExternalId: a confused deputy. Anybody who can make fleetscan use this role's ARN, another customer for one, reads this account."
            }
            (Some(true), Some(true)) => return,
            _ => {
                let says = "Whether the role asks for its ExternalId could not be tried: STS gave no clear answer.";
                self.findings.push(Finding::unknown(Kind::ExternalIdUntried, says));
                return;
            }
        };
        self.findings.push(Finding::new(Severity::Critical, Kind::ExternalIdIgnored, says, FIX));
    }

    /// How the account stands.
    pub fn standing(&self) -> Standing {
        if self.cannot.is_some() {
            Standing::Cannot
        } else if self.findings.iter().any(Finding::is_hole) {
            Standing::Holes
        } else {
            Standing::Fine
        }
    }
}
