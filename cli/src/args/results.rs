//! Flags of the commands that read results.

use super::{By, DiffArgs, ExportArgs, ListArgs, OutArgs, PurgeArgs};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub struct ResultsArgs {
    #[command(subcommand)]
    pub command: ResultsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ResultsCommand {
    /// Resources by type, coverage by outcome, and what to do about each hole
    Summary(SummaryArgs),
    /// How each cell ended, one a line
    Ledger(LedgerArgs),
    /// The scans that are kept, and why
    List(ListArgs),
    /// Records as Parquet, CSV or SQLite
    Export(ExportArgs),
    /// What was added, removed and changed between two scans, and what cannot be known
    Diff(DiffArgs),
    /// What a reviewer of AWS security would flag, by rules that are files
    Insights(InsightsArgs),
    /// Delete what was read of an account, or a whole scan
    Purge(PurgeArgs),
}

#[derive(Debug, ClapArgs)]
pub struct SummaryArgs {
    /// Which scan; by default the newest finished one
    pub scan: Option<String>,
    #[command(flatten)]
    pub out: OutArgs,
    /// A table by account, region, service or type, or of what was denied and by which kind of policy
    #[arg(long, value_enum, value_name = "WHAT")]
    pub by: Option<By>,
    /// JSON in place of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct InsightsArgs {
    /// Which scan; by default the newest finished one
    pub scan: Option<String>,
    #[command(flatten)]
    pub out: OutArgs,
    /// Only these rules, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub rule: Vec<String>,
    /// Only rules at least so grave
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub severity: Option<SeverityArg>,
    /// Only these accounts, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub account: Vec<String>,
    /// Folder with rules of your own, a *.toml each (docs/insights.md); one with the id of another replaces it
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// How the number of findings changed over the scans that are kept
    #[arg(long, conflicts_with = "scan")]
    pub trend: bool,
    /// Name the rules, and read nothing
    #[arg(long)]
    pub list_rules: bool,
    /// Findings of each rule that are shown
    #[arg(long, default_value_t = 5, value_name = "FINDINGS")]
    pub limit: usize,
    /// End with 3 where there is a finding at least so grave
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub fail_on: Option<SeverityArg>,
    /// One JSON object a line: findings, then what could not be assessed
    #[arg(long)]
    pub json: bool,
}

/// The severities as clap lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeverityArg(pub fleetscan_proto::insight::Severity);

impl ValueEnum for SeverityArg {
    fn value_variants<'a>() -> &'a [Self] {
        use fleetscan_proto::insight::Severity as S;
        const ALL: [SeverityArg; 4] =
            [SeverityArg(S::Low), SeverityArg(S::Medium), SeverityArg(S::High), SeverityArg(S::Critical)];
        &ALL
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.as_str()))
    }
}

#[derive(Debug, ClapArgs)]
pub struct LedgerArgs {
    /// Which scan; by default the newest finished one
    pub scan: Option<String>,
    #[command(flatten)]
    pub out: OutArgs,
    /// Only cells that make the scan incomplete
    #[arg(long)]
    pub holes: bool,
    /// Only these outcomes, separated by commas
    #[arg(long, value_delimiter = ',', value_enum, value_name = "OUTCOME,…")]
    pub outcome: Vec<OutcomeArg>,
    /// Only these accounts, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub account: Vec<String>,
    /// Only these regions, separated by commas; `global` for services that have none
    #[arg(long, value_delimiter = ',', value_name = "REGION,…")]
    pub region: Vec<String>,
    /// Only these services, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "SERVICE,…")]
    pub service: Vec<String>,
    /// Only cells in which this IAM action was denied; a * may stand at its end, as in `lambda:*`
    #[arg(long, value_name = "ACTION")]
    pub denied: Option<String>,
    /// Only cells begun at this time or later, such as 2026-01-31T12:00:00Z, or so long ago at most, such as 2h
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<jiff::Timestamp>,
    /// One JSON object a line, in place of a table
    #[arg(long)]
    pub json: bool,
}

/// The outcomes as clap lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeArg(pub fleetscan_proto::Outcome);

impl ValueEnum for OutcomeArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [OutcomeArg; fleetscan_proto::Outcome::ALL.len()] = {
            let mut all = [OutcomeArg(fleetscan_proto::Outcome::Complete); fleetscan_proto::Outcome::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = OutcomeArg(fleetscan_proto::Outcome::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.as_str()))
    }
}

fn since(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let told = "write a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h or 90m";
    let span: jiff::SignedDuration = text.parse().map_err(|_| told.to_owned())?;
    jiff::Timestamp::now().checked_sub(span).map_err(|_| told.to_owned())
}
