//! `fleetscan results`: reads manifest and ledger, never the store, so that results can be read anywhere.

mod by;
mod diff;
mod export;
mod insights;
mod list;
pub mod purge;

use crate::{
    args::{LedgerArgs, ResultsArgs, ResultsCommand, SummaryArgs},
    failure::{COMPLETE, Failure},
    numbers::{grouped, many},
    out::Out,
    summary::Summary,
    terminal::Terminal,
};
use fleetscan_coordinator::read_ledger;
use fleetscan_proto::{LedgerLine, ResultPaths};
use std::io::Write as _;

pub async fn run(args: ResultsArgs, terminal: Terminal) -> Result<u8, Failure> {
    match args.command {
        ResultsCommand::Summary(args) => summary(args, terminal).await,
        ResultsCommand::Ledger(args) => ledger(args, terminal).await,
        ResultsCommand::List(args) => list::run(args, terminal).await,
        ResultsCommand::Export(args) => export::run(args, terminal).await,
        ResultsCommand::Diff(args) => diff::run(args, terminal).await,
        ResultsCommand::Insights(args) if args.list_rules => insights::list(&args, terminal),
        ResultsCommand::Insights(args) => insights::run(args, terminal).await,
        ResultsCommand::Purge(args) => purge::run(args).await,
    }
}

async fn summary(args: SummaryArgs, terminal: Terminal) -> Result<u8, Failure> {
    let out = Out::open_existing(&args.out)?;
    let manifest = out.manifest(args.scan.as_deref()).await?;
    if let Some(by) = args.by {
        return by::run(&args, by, &out, &manifest, terminal).await;
    }
    let summary = Summary::read(&out, manifest).await?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        writeln!(stdout, "{}", summary.json())?;
    } else {
        write!(stdout, "{}", summary.text(terminal))?;
    }
    Ok(COMPLETE)
}

async fn ledger(args: LedgerArgs, terminal: Terminal) -> Result<u8, Failure> {
    let out = Out::open_existing(&args.out)?;
    let manifest = out.manifest(args.scan.as_deref()).await?;
    let lines = read_ledger(out.sink.as_ref(), &ResultPaths(&manifest.scan).ledger()).await?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if !args.json {
        let head = format!(
            "{:12}  {:14}  {:14}  {:15}  {:>7}  {:>6}  why",
            "account", "region", "service", "outcome", "records", "calls"
        );
        writeln!(stdout, "{}", terminal.bold(&head))?;
    }
    let (mut shown, mut all) = (0_u64, 0_u64);
    for line in lines {
        let line = line?;
        all += 1;
        if !chosen(&args, &line) {
            continue;
        }
        shown += 1;
        if args.json {
            let text = serde_json::to_string(&line).map_err(Failure::failed)?;
            writeln!(stdout, "{text}")?;
        } else {
            writeln!(stdout, "{}", row(&line, terminal))?;
        }
    }
    if !args.json {
        let of = if shown == all { String::new() } else { format!(" of {}", grouped(all)) };
        writeln!(stdout, "{}", terminal.dim(&format!("{}{of}, scan {}", many(shown, "cell"), manifest.scan)))?;
    }
    stdout.flush()?;
    Ok(COMPLETE)
}

fn chosen(args: &LedgerArgs, line: &LedgerLine) -> bool {
    let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
    (!args.holes || line.outcome.is_hole())
        && (args.outcome.is_empty() || args.outcome.iter().any(|outcome| outcome.0 == line.outcome))
        && among(&args.account, line.cell.account.as_str())
        && among(&args.region, &line.cell.region)
        && among(&args.service, &line.cell.service)
        && args.denied.as_ref().is_none_or(|wanted| line.denied.iter().any(|denial| fits(wanted, &denial.action)))
        && args.since.is_none_or(|since| line.started_at.is_some_and(|at| at >= since))
}

/// Whether an action is the one, or begins with what stands before the `*`. Letter case does not count, as in IAM.
fn fits(wanted: &str, action: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => action.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)),
        None => action.eq_ignore_ascii_case(wanted),
    }
}

fn row(line: &LedgerLine, terminal: Terminal) -> String {
    let outcome = format!("{:15}", line.outcome);
    let outcome = if line.outcome.is_hole() { terminal.yellow(&outcome) } else { outcome };
    let mut why: Vec<String> = line.denied.iter().map(|denial| denial.action.clone()).collect();
    why.extend(line.error.clone());
    if line.totals.throttled > 0 {
        why.push(format!("{} throttled", grouped(line.totals.throttled)));
    }
    let row = format!(
        "{:12}  {:14}  {:14}  {outcome}  {:>7}  {:>6}  {}",
        line.cell.account,
        line.cell.region,
        line.cell.service,
        grouped(line.totals.records),
        grouped(line.totals.calls),
        why.join(", ")
    );
    row.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn denied_actions_are_found_by_name_and_by_beginning() {
        assert!(fits("lambda:getpolicy", "lambda:GetPolicy") && fits("lambda:*", "lambda:GetPolicy"));
        assert!(!fits("lambda:Get", "lambda:GetPolicy") && !fits("sns:*", "lambda:GetPolicy") && fits("*", "x:Y"));
    }
}
