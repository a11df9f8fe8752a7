//! Accounts as a table, as one page, and as JSON.

use super::binding;
use crate::{failure::Failure, numbers::many, terminal::Terminal};
use fleetscan_coordinator::Listed;
use fleetscan_proto::{AccountChange, AccountState, RegisteredAccount, TrailPlace};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::Write;

/// Who an account belongs to.
pub fn customer(account: &RegisteredAccount) -> String {
    account.customer.clone().unwrap_or_else(|| account.id.to_string())
}

/// A state, as JSON writes it.
pub fn word(state: AccountState) -> &'static str {
    match state {
        AccountState::Pending => "pending",
        AccountState::Active => "active",
        AccountState::Degraded => "degraded",
        AccountState::Revoked => "revoked",
        AccountState::Paused => "paused",
        AccountState::Disconnected => "disconnected",
    }
}

pub fn print(out: &mut impl Write, listed: &[Listed], json: bool, terminal: Terminal) -> Result<(), Failure> {
    if json {
        writeln!(out, "{}", Value::Array(listed.iter().map(object).collect()))?;
        return Ok(());
    }
    if listed.is_empty() {
        writeln!(out, "No account. Connect some with `fleetscan accounts import FILE`.")?;
        return Ok(());
    }
    let head = format!("{:12}  {:24}  {:20}  {:12}  since", "account", "name", "customer", "status");
    writeln!(out, "{}", terminal.bold(&head))?;
    for one in listed {
        let status = format!("{:12}", word(one.state()));
        let status = match one.state() {
            AccountState::Active => terminal.green(&status),
            AccountState::Degraded | AccountState::Revoked => terminal.yellow(&status),
            AccountState::Pending | AccountState::Paused | AccountState::Disconnected => status,
        };
        let name = short(one.account.name.as_deref().unwrap_or("-"), 24);
        let since = since(one);
        writeln!(
            out,
            "{:12}  {name:24}  {:20}  {status}  {since}",
            one.account.id,
            short(&customer(&one.account), 20)
        )?;
    }
    writeln!(out, "{}", many(listed.len() as u64, "account"))?;
    Ok(())
}

pub fn show(out: &mut impl Write, one: &Listed, changes: Option<&[AccountChange]>, json: bool) -> Result<(), Failure> {
    if json {
        let mut object = object(one);
        if let (Some(changes), Some(map)) = (changes, object.as_object_mut()) {
            map.insert("history".to_owned(), json!(changes));
        }
        writeln!(out, "{object}")?;
        return Ok(());
    }
    let account = &one.account;
    writeln!(out, "Account {}{}", account.id, account.name.as_ref().map(|n| format!(" ({n})")).unwrap_or_default())?;
    writeln!(out, "  status     {}, since {}", word(one.state()), since(one))?;
    writeln!(out, "  customer   {}", customer(account))?;
    let regions = if account.regions.is_empty() { "every enabled one".to_owned() } else { account.regions.join(", ") };
    writeln!(out, "  regions    {regions}")?;
    match &account.cloudtrail_bucket {
        None => {}
        Some(TrailPlace::Never) => writeln!(out, "  CloudTrail log files are never read")?,
        Some(TrailPlace::Bucket(bucket)) => {
            writeln!(out, "  CloudTrail log files in s3://{bucket}, read where the operator switched it on")?;
        }
        Some(TrailPlace::Unknown(text)) => {
            writeln!(out, "  CloudTrail log files in {text}, which is no bucket that is read: name it anew")?;
        }
    }
    let version = account.told.as_ref().map(|told| format!(" version {}", told.version)).unwrap_or_default();
    writeln!(out, "  profile    {}{version} of catalogue {}", account.profile, account.catalogue)?;
    let adds = binding::would_add(account);
    if !adds.is_empty() {
        let id = &account.id;
        writeln!(
            out,
            "  not told   {} `fleetscan accounts upgrade-profile {id}` would add:",
            many(adds.len() as u64, "operation")
        )?;
        adds.iter().try_for_each(|operation| writeln!(out, "             {operation}"))?;
    }
    if account.no_session_policy {
        writeln!(out, "  sessions   not narrowed by a session policy")?;
    }
    if let Some(member) = &account.organisation {
        let (standing, since) = (member.standing.as_str(), member.since.strftime("%Y-%m-%d"));
        writeln!(out, "  member     of {}, in {}: {standing}, since {since}", member.organisation, member.path)?;
        if !member.policies.is_empty() {
            writeln!(out, "  policies   {}", member.policies.join(", "))?;
        }
    }
    match &account.grant {
        Some(grant) => writeln!(out, "  grant      sealed with key {}", grant.key)?,
        None => writeln!(
            out,
            "  grant      erased{}",
            account.removed_at.map(|at| format!(" at {}", second(at))).unwrap_or_default()
        )?,
    }
    if let Some(status) = &one.status {
        if let Some(at) = status.last_success {
            writeln!(out, "  let us in  {}", second(at))?;
        }
        for denial in &status.denied {
            writeln!(out, "  denied     {} ({})", denial.action, json!(denial.by).as_str().unwrap_or_default())?;
        }
        for (what, value) in &status.evidence {
            writeln!(out, "  evidence   {what}: {value}")?;
        }
    }
    for change in changes.unwrap_or_default() {
        let from = change.from.map_or("new", word);
        let evidence: Vec<String> = change.evidence.iter().map(|(what, value)| format!("{what}: {value}")).collect();
        let what = match change.from == Some(change.to) {
            true => from.to_owned(),
            false => format!("{from} → {}", word(change.to)),
        };
        writeln!(out, "  {}  {what:22}  {}", second(change.at), evidence.join(", "))?;
    }
    Ok(())
}

fn since(one: &Listed) -> String {
    let at = one.status.as_ref().map_or(one.account.added_at, |status| status.since);
    second(at)
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn object(one: &Listed) -> Value {
    let account = &one.account;
    let status = one.status.as_ref();
    json!({
        "id": account.id, "name": account.name, "status": word(one.state()),
        "since": status.map_or(account.added_at, |status| status.since), "customer": customer(account),
        "regions": account.regions, "cloudtrail_bucket": account.cloudtrail_bucket, "profile": account.profile, "catalogue": account.catalogue,
        "profile_version": account.told.as_ref().map(|told| told.version), "upgrade_adds": binding::would_add(account),
        "session_policy": !account.no_session_policy, "organisation": account.organisation, "added_at": account.added_at, "removed_at": account.removed_at,
        "key": account.grant.as_ref().map(|grant| &grant.key), "last_success": status.and_then(|s| s.last_success),
        "denied": status.map(|s| json!(s.denied)).unwrap_or_else(|| json!([])),
        "evidence": status.map(|s| json!(s.evidence)).unwrap_or_else(|| json!({})),
    })
}

/// At most so many characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
