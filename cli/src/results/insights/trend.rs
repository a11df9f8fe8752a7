use super::{examine, report::Report};
use crate::{
    args::InsightsArgs,
    failure::{COMPLETE, Failure},
    numbers::{grouped, many},
    out::Out,
    terminal::Terminal,
};
use fleetscan_proto::{
    Manifest,
    insight::{Rule, Severity},
};
use serde_json::{Map, Value, json};
use std::io::Write as _;

/// How findings changed over the scans that are kept, the oldest first.
pub async fn run(args: &InsightsArgs, rules: &[Rule], out: &Out, terminal: Terminal) -> Result<u8, Failure> {
    let mut scans: Vec<(Manifest, Vec<u64>)> = Vec::new();
    for id in out.scans().await? {
        let Some(manifest) = out.find_manifest(&id).await? else { continue };
        let mut report = Report::new(rules, 0);
        examine(args, rules, out, &manifest, &mut report, None).await?;
        scans.push((manifest, report.counts().map(|(_, count)| count).collect()));
    }
    scans.reverse();
    if scans.is_empty() {
        return Err(Failure::usage(format!("there is no finished scan in {}", out.name)));
    }
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if args.json {
        for (manifest, counts) in &scans {
            writeln!(stdout, "{}", object(manifest, rules, counts))?;
        }
    } else {
        write!(stdout, "{}", text(&scans, rules, terminal))?;
    }
    stdout.flush()?;
    Ok(COMPLETE)
}

fn of_severity(severity: Severity, rules: &[Rule], counts: &[u64]) -> u64 {
    rules.iter().zip(counts).filter(|(rule, _)| rule.severity == severity).map(|(_, count)| count).sum()
}

fn object(manifest: &Manifest, rules: &[Rule], counts: &[u64]) -> Value {
    let by_rule: Map<String, Value> = rules
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(rule, count)| (rule.id.clone(), json!(count)))
        .collect();
    let by_severity: Map<String, Value> = Severity::ALL
        .into_iter()
        .map(|severity| (severity.as_str().to_owned(), json!(of_severity(severity, rules, counts))))
        .collect();
    json!({
        "scan": manifest.scan, "finished_at": manifest.finished_at, "thinned": manifest.thinned.is_some(),
        "by_severity": by_severity, "by_rule": by_rule,
    })
}

fn text(scans: &[(Manifest, Vec<u64>)], rules: &[Rule], terminal: Terminal) -> String {
    const WIDTH: usize = 13;
    /// As many as are kept whole by default; a terminal of 120 columns has room for them.
    const SHOWN: usize = 5;
    let older = scans.len().saturating_sub(SHOWN);
    let scans = &scans[older..];
    let row = |title: &str, counts: &mut dyn Iterator<Item = u64>| {
        let cells: String = counts.map(|count| format!("{:>WIDTH$}", grouped(count))).collect();
        format!("{title:44}{cells}\n")
    };
    let heads: String = scans.iter().map(|(manifest, _)| format!("{:>WIDTH$}", day(manifest))).collect();
    let mut text = format!("{}\n", terminal.bold(&format!("{:44}{heads}", "findings")));
    for severity in Severity::ALL {
        text.push_str(&row(
            severity.as_str(),
            &mut scans.iter().map(|(_, counts)| of_severity(severity, rules, counts)),
        ));
    }
    text.push('\n');
    for (index, rule) in rules.iter().enumerate() {
        if scans.iter().any(|(_, counts)| counts[index] > 0) {
            text.push_str(&row(&rule.id, &mut scans.iter().map(|(_, counts)| counts[index])));
        }
    }
    if scans.iter().any(|(manifest, _)| manifest.thinned.is_some()) {
        text.push_str("* kept only in part: what newer scans read completely is counted there\n");
    }
    if older > 0 {
        text.push_str(&terminal.dim(&format!("{}: --json has them\n", many(older as u64, "older scan"))));
    }
    text
}

fn day(manifest: &Manifest) -> String {
    let mark = if manifest.thinned.is_some() { "*" } else { "" };
    format!("{}{mark}", manifest.finished_at.strftime("%m-%d %H:%M"))
}
