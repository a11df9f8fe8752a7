//! `fleetscan accounts verify`: what is said of accounts' roles, as a page that a customer could be shown.

use super::{account_ids, desk, read_file};
use crate::{
    args::{AccountsArgs, VerifyArgs},
    backing::{self, Memory},
    display,
    failure::{COMPLETE, FAILED, Failure, HOLES},
    hub,
    numbers::many,
    profile, services,
    terminal::Terminal,
};
use fleetscan_backends::SealedGrants;
use fleetscan_coordinator::{Connections, Registry};
use fleetscan_proto::{Account, AccountId, Grants, Profile, RegisteredAccount, SystemClock};
use fleetscan_worker::{
    reads::Reads,
    verify::{Finding, Look, Standing, Verification, Verifier, VerifierParts, excess::Severity},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    sync::Arc,
};

/// Accounts that are looked at at once.
const AT_ONCE: usize = 8;
/// Actions that a finding names to people.
const NAMED: usize = 6;

/// An account to look at, and how; or why it cannot be.
type Task = (AccountId, Result<(Account, Look), String>);

pub async fn run(args: &AccountsArgs, asked: &VerifyArgs, terminal: Terminal) -> Result<u8, Failure> {
    let (memory, tasks, grants) = match &asked.file {
        Some(file) => {
            let accounts = of_file(read_file(file, false)?, &asked.ids)?;
            let memory = Memory::open(&args.store).await?;
            let reads = Arc::new(reads(&profile::named(&asked.profile)?, true)?);
            let look = Look { reads, wait: asked.wait };
            let tasks = accounts.iter().map(|account| (account.id.clone(), Ok((account.clone(), look.clone()))));
            (memory, tasks.collect(), Arc::new(Registry::new(accounts)) as Arc<dyn Grants>)
        }
        None => {
            let keys = backing::keys(&args.key)?;
            let memory = Memory::open(&args.store).await?;
            let grants: Arc<dyn Grants> = Arc::new(SealedGrants::new(Arc::clone(&memory.registry), keys));
            let tasks = connected(&desk(&memory), grants.as_ref(), asked).await?;
            (memory, tasks, grants)
        }
    };
    let hub = hub::connect(&asked.hub).await?;
    let who = hub.identity().await.map_err(Failure::failed)?;
    let verifier = Verifier::new(VerifierParts {
        hub: Arc::new(hub),
        grants,
        store: Arc::clone(&memory.store),
        clock: Arc::new(SystemClock),
        catalogue: Arc::new(services::catalogue().clone()),
        session_prefix: asked.hub.session_prefix.clone(),
    });
    let known: HashSet<AccountId> = desk(&memory).accounts().await?.into_iter().map(|account| account.id).collect();
    let found = look(&verifier, tasks, &desk(&memory), &known).await?;
    tell(&found, &who.arn, args.json, terminal)?;
    let any = |standing| found.iter().any(|found: &Verification| found.standing() == standing);
    Ok(match (any(Standing::Holes), any(Standing::Cannot)) {
        (true, _) => HOLES,
        (false, true) => FAILED,
        (false, false) => COMPLETE,
    })
}

/// Looks at all of them, some at once, and notes each in the registry; in the order in which they were named.
async fn look(
    verifier: &Verifier,
    tasks: Vec<Task>,
    desk: &Connections,
    known: &HashSet<AccountId>,
) -> Result<Vec<Verification>, Failure> {
    let mut looks = futures_util::stream::iter(tasks)
        .map(|(id, task)| async move {
            match task {
                Ok((account, look)) => verifier.verify(&account, &look).await,
                Err(why) => Verification::not_begun(id, why),
            }
        })
        .buffered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(found) = looks.next().await {
        if known.contains(&found.account) {
            desk.verified(&found.account, found.let_in_at, word(found.standing())).await.map_err(Failure::failed)?;
        }
        all.push(found);
    }
    Ok(all)
}

fn of_file(accounts: Vec<Account>, ids: &[String]) -> Result<Vec<Account>, Failure> {
    if ids.is_empty() {
        return Ok(accounts);
    }
    let by_id: HashMap<AccountId, Account> = accounts.into_iter().map(|one| (one.id.clone(), one)).collect();
    let named = account_ids(ids)?
        .into_iter()
        .map(|id| by_id.get(&id).cloned().ok_or_else(|| Failure::usage(format!("account {id} is not in the file"))));
    named.collect()
}

/// The connected accounts that were named, or all.
async fn connected(desk: &Connections, grants: &dyn Grants, asked: &VerifyArgs) -> Result<Vec<Task>, Failure> {
    let all = desk.accounts().await?;
    let chosen: Vec<&RegisteredAccount> = match asked.ids.is_empty() {
        true => all.iter().filter(|account| account.grant.is_some()).collect(),
        false => {
            let find = |id: AccountId| {
                let found = all.iter().find(|account| account.id == id && account.grant.is_some());
                found.ok_or_else(|| Failure::usage(format!("account {id} is not connected")))
            };
            account_ids(&asked.ids)?.into_iter().map(find).collect::<Result<_, _>>()?
        }
    };
    if chosen.is_empty() {
        return Err(Failure::usage("no account is connected: `fleetscan accounts add` or `import` connects some"));
    }
    let mut parts: HashMap<(Option<Vec<String>>, bool), Arc<Reads>> = HashMap::new();
    let mut tasks = Vec::new();
    for registered in chosen {
        let id = registered.id.clone();
        let told = registered.told.as_ref().map(|told| told.operations.clone());
        let narrowed = !registered.no_session_policy;
        let reads = match parts.get(&(told.clone(), narrowed)) {
            Some(reads) => Arc::clone(reads),
            None => {
                let reads = Arc::new(told_reads(told.as_deref(), narrowed)?);
                parts.insert((told, narrowed), Arc::clone(&reads));
                reads
            }
        };
        let look = Look { reads, wait: asked.wait };
        let task = match grants.account(&id).await {
            Ok(Some(account)) => Ok((account, look)),
            Ok(None) => Err("it was disconnected a moment ago".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        tasks.push((id, task));
    }
    Ok(tasks)
}

/// What an account's owner was told that is read: everything, in accounts that were connected before there were
/// profiles.
fn told_reads(told: Option<&[String]>, narrowed: bool) -> Result<Reads, Failure> {
    let Some(told) = told else { return reads(&profile::named("full")?, narrowed) };
    let told: HashSet<&str> = told.iter().map(String::as_str).collect();
    let part = services::catalogue().narrowed(|service, operation| operation.is_told(service, &told));
    Reads::new(part.map_err(Failure::failed)?, narrowed).map_err(Failure::usage)
}

/// What a profile reads.
fn reads(profile: &Profile, narrowed: bool) -> Result<Reads, Failure> {
    let part = profile.of(services::catalogue()).map_err(Failure::usage)?;
    Reads::new(part, narrowed).map_err(Failure::usage)
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Fine => "fine",
        Standing::Holes => "holes",
        Standing::Cannot => "cannot",
    }
}

fn tell(found: &[Verification], hub: &str, json: bool, terminal: Terminal) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if json {
        writeln!(out, "{}", Value::Array(found.iter().map(object).collect()))?;
        return Ok(out.flush()?);
    }
    writeln!(out, "Asked as {hub}. What the organisation's service control policies forbid is not known from here.")?;
    for one in found {
        writeln!(out)?;
        page(&mut out, one, terminal)?;
    }
    out.flush()?;
    let count = |standing| found.iter().filter(|one| one.standing() == standing).count() as u64;
    let (fine, holes, cannot) = (count(Standing::Fine), count(Standing::Holes), count(Standing::Cannot));
    display::note(&format!(
        "{}: {fine} fine, {holes} with holes, {cannot} that could not be looked at",
        many(found.len() as u64, "account")
    ));
    Ok(())
}

fn page(out: &mut impl std::io::Write, found: &Verification, terminal: Terminal) -> Result<(), Failure> {
    let standing = match found.standing() {
        Standing::Fine => terminal.green("fine"),
        Standing::Holes => terminal.yellow("holes"),
        Standing::Cannot => terminal.yellow("cannot be looked at"),
    };
    writeln!(out, "{}  {standing}", terminal.bold(&format!("Account {}", found.account)))?;
    if let Some(why) = &found.cannot {
        writeln!(out, "  {why}")?;
        if found.tries > 0 {
            writeln!(out, "  asked {} times", found.tries + 1)?;
        }
        return Ok(());
    }
    let waited = match found.waited.as_secs() {
        0 if found.tries == 0 => String::new(),
        seconds => format!(", after {seconds} s: IAM's changes are not known everywhere at once"),
    };
    row(out, "lets fleetscan in", &format!("yes, with its ExternalId{waited}"))?;
    row(out, "account", "its own")?;
    row(out, "without ExternalId", refusal(found.refuses_none))?;
    row(out, "with a wrong one", refusal(found.refuses_wrong))?;
    let rights = match (&found.rights, &found.unread) {
        (Some(rights), _) => {
            let lacking = rights.lacking.len() + rights.denied.len() + rights.bounded.len();
            let partly = rights.some_resources.len() + rights.conditional.len();
            format!(
                "{} of {} actions; {partly} in part, {lacking} not",
                rights.allowed,
                rights.allowed + lacking + partly
            )
        }
        (None, why) => format!("not known: {}", why.as_deref().unwrap_or("not read")),
    };
    row(out, "grants what is read", &rights)?;
    found.findings.iter().try_for_each(|finding| tell_finding(out, finding, terminal))
}

fn row(out: &mut impl std::io::Write, name: &str, text: &str) -> Result<(), Failure> {
    Ok(writeln!(out, "  {name:20}  {text}")?)
}

fn refusal(refuses: Option<bool>) -> &'static str {
    match refuses {
        Some(true) => "refused, as it should be",
        Some(false) => "LET IN",
        None => "not known",
    }
}

fn tell_finding(out: &mut impl std::io::Write, finding: &Finding, terminal: Terminal) -> Result<(), Failure> {
    let severity = format!("{:8}", finding.severity.as_str());
    let severity = match finding.severity {
        Severity::Low => severity,
        _ => terminal.yellow(&severity),
    };
    writeln!(out, "  {severity}  {}", finding.says)?;
    if !finding.actions.is_empty() {
        let more = finding.actions.len().saturating_sub(NAMED);
        let named = finding.actions.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more (--json lists them)") } else { String::new() };
        writeln!(out, "            {named}{more}")?;
    }
    if !finding.policies.is_empty() {
        writeln!(out, "            by {}", finding.policies.join(", "))?;
    }
    Ok(writeln!(out, "            → {}", finding.fix)?)
}

fn object(found: &Verification) -> Value {
    json!({
        "id": found.account, "standing": word(found.standing()), "cannot": found.cannot,
        "lets_in": found.let_in_at.is_some(), "waited_seconds": found.waited.as_secs_f64(), "denied_tries": found.tries,
        "refused_without_external_id": found.refuses_none, "refused_with_wrong_external_id": found.refuses_wrong,
        "rights": found.rights, "rights_unknown": found.unread, "organisation_policies": "unknown",
        "findings": found.findings,
    })
}
