//! `fleetscan accounts verify`: what is said of accounts' roles, as a page that a customer could be shown.

use super::{account_ids, binding, desk, paused, read_file};
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
use fleetscan_coordinator::{Connections, Listed, Registry};
use fleetscan_proto::{Account, AccountId, AccountState, Grants, Profile, SystemClock};
use fleetscan_worker::{
    reads::Reads,
    verify::{Finding, Look, Standing, Verification, Verifier, VerifierParts, excess::Severity},
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::{collections::HashMap, io::Write as _, sync::Arc};

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
        share: asked.share,
        cloudtrail_bucket: asked.cloudtrail_bucket_name.as_ref().and_then(|named| named.0.clone()),
    });
    let round = Round { verifier: &verifier, memory: &memory, desk: desk(&memory), of_registry: asked.file.is_none() };
    let (found, all_recorded) = round.look(tasks).await;
    tell(&found, &who.arn, args.json, terminal)?;
    let any = |standing| found.iter().any(|found: &Verification| found.standing() == standing);
    Ok(match (all_recorded, any(Standing::Holes), any(Standing::Cannot)) {
        (false, _, _) => FAILED,
        (true, true, _) => HOLES,
        (true, false, true) => FAILED,
        (true, false, false) => COMPLETE,
    })
}

/// Looks at several accounts.
struct Round<'a> {
    verifier: &'a Verifier,
    memory: &'a Memory,
    desk: Connections,
    /// The grants are those of the registry: what is found is said of its accounts. Another role, or another
    /// ExternalId, that a file names says nothing of them.
    of_registry: bool,
}

impl Round<'_> {
    /// Looks at all of them, some at once, and notes each in the registry as soon as it is known; in the order in which
    /// they were named. Answers whether all could be noted.
    async fn look(&self, tasks: Vec<Task>) -> (Vec<Verification>, bool) {
        let looks = tasks.into_iter().enumerate().map(|(place, task)| async move {
            let found = self.one(task).await;
            let recorded = self.record(&found).await;
            (place, found, recorded)
        });
        let mut all: Vec<_> = futures_util::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        all.sort_by_key(|(place, ..)| *place);
        let recorded = all.iter().all(|(_, _, recorded)| *recorded);
        (all.into_iter().map(|(_, found, _)| found).collect(), recorded)
    }

    async fn one(&self, (id, task): Task) -> Verification {
        let (account, look) = match task {
            Ok(task) => task,
            Err(why) => return Verification::not_begun(id, why),
        };
        match self.heed(&id).await {
            Ok(()) => self.verifier.verify(&account, &look).await,
            Err(why) => Verification::not_begun(id, why),
        }
    }

    /// What operators said by now: calls are switched off, or the account is to be left alone.
    async fn heed(&self, id: &AccountId) -> Result<(), String> {
        let orders = self.memory.fleet.orders().await.map_err(|error| error.to_string())?;
        self.verifier.heed(&orders.switches);
        if !self.of_registry {
            return Ok(());
        }
        match self.memory.store.account_status(id).await {
            Ok(Some(status)) if status.state == AccountState::Paused => Err("it was paused a moment ago".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn record(&self, found: &Verification) -> bool {
        if !self.of_registry {
            return true;
        }
        let id = &found.account;
        let noted = self.desk.verified(id, found.let_in_at, word(found.standing())).await;
        if let Err(error) = &noted {
            display::note(&format!("account {id}: what was found is not in the registry: {error}"));
        }
        noted.is_ok()
    }
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
    let all = desk.list().await?;
    let is_connected = |one: &&Listed| one.account.grant.is_some();
    let is_paused = |one: &Listed| one.state() == AccountState::Paused;
    let chosen: Vec<&Listed> = match asked.ids.is_empty() {
        true => {
            let (paused, chosen): (Vec<&Listed>, Vec<_>) =
                all.iter().filter(is_connected).partition(|one| is_paused(one));
            if !paused.is_empty() {
                display::note(&format!("{} left out: paused", many(paused.len() as u64, "account")));
            }
            chosen
        }
        false => {
            let find = |id: AccountId| match all.iter().filter(is_connected).find(|one| one.account.id == id) {
                None => Err(Failure::usage(format!("account {id} is not connected"))),
                Some(one) if is_paused(one) => Err(paused(&id)),
                Some(one) => Ok(one),
            };
            account_ids(&asked.ids)?.into_iter().map(find).collect::<Result<_, _>>()?
        }
    };
    if chosen.is_empty() {
        return Err(Failure::usage(match all.iter().any(|one| is_connected(&one)) {
            true => "every account is paused",
            false => "no account is connected: `fleetscan accounts add` or `import` connects some",
        }));
    }
    let mut parts: HashMap<(Option<Vec<String>>, bool), Arc<Reads>> = HashMap::new();
    let mut tasks = Vec::new();
    for Listed { account: registered, .. } in chosen {
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
    Reads::new(binding::told_of(services::catalogue(), told)?, narrowed).map_err(Failure::usage)
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
