//! `fleetscan accounts`: connects customers' accounts, and shows how they stand. No role ARN and no ExternalId is ever
//! printed, but for a new one that was asked for.

mod binding;
mod listing;
mod offer;
mod sync_org;
mod verify;

use crate::{
    args::{AccountsArgs, AccountsCommand, StateArg},
    audit_query::AuditQuery,
    backing::{self, Memory},
    display,
    failure::{COMPLETE, Failure},
    numbers::{grouped, many},
    out::Out,
    results::purge,
    terminal::Terminal,
};
use fleetscan_coordinator::{AccountsFile, Connected, ConnectionError, Connections, Judged, RegistryCopy, history};
use fleetscan_proto::{
    Account, AccountId, AccountState, Grant, Secret, SystemClock, check_external_id, parse_role_arn,
};
use futures_util::{StreamExt as _, stream};
use offer::Offer;
use serde_json::json;
use std::{
    io::{BufRead as _, Write as _},
    path::Path,
    sync::Arc,
};

/// Accounts that are connected at once: each takes the store a few steps, one after the other.
const AT_ONCE: usize = 64;

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Refused(why) => Failure::usage(why),
            other => Failure::failed(other),
        }
    }
}

pub async fn run(args: AccountsArgs, terminal: Terminal) -> Result<u8, Failure> {
    let json = args.json;
    match &args.command {
        AccountsCommand::NewExternalId { hub_principal, profile, template_url, region } => {
            let profile = crate::profile::named(profile)?;
            let offer = Offer::new(profile, hub_principal.clone(), template_url.clone(), region.clone());
            offer.tell(json)?;
            return Ok(COMPLETE);
        }
        AccountsCommand::AuditQuery { id, place, days, session_prefix } => {
            let account = id.as_deref().map(account_id).transpose()?;
            let query = AuditQuery { account, place: *place, days: *days, session_prefix: session_prefix.clone() };
            query.write(&mut std::io::stdout().lock())?;
            return Ok(COMPLETE);
        }
        AccountsCommand::Add {
            id,
            role_arn,
            external_id_file,
            name,
            customer,
            regions,
            cloudtrail_bucket,
            profile,
        } => {
            let account = Account {
                id: account_id(id)?,
                grant: grant(id, role_arn, external_id_file.as_deref())?,
                name: name.clone(),
                customer: customer.clone(),
                regions: regions.clone(),
                cloudtrail_bucket: cloudtrail_bucket.clone(),
            };
            return connect(&args, vec![account], profile).await;
        }
        AccountsCommand::Import { file, partial, profile } => {
            let accounts = read_file(file, *partial)?;
            return connect(&args, accounts, profile).await;
        }
        AccountsCommand::Restore { file } => return restore(&args, file).await,
        AccountsCommand::SyncOrg(asked) => return sync_org::run(&args, asked, terminal).await,
        AccountsCommand::Verify(asked) => return verify::run(&args, asked, terminal).await,
        _ => {}
    }
    let desk = desk(&Memory::open(&args.store).await?);
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    match args.command {
        AccountsCommand::List { status, customer, all } => {
            let mut listed = desk.list().await?;
            listed.retain(|one| {
                status.map_or(all || one.state() != AccountState::Disconnected, |wanted| one.state() == state(wanted))
                    && customer.as_ref().is_none_or(|c| listing::customer(&one.account) == *c)
            });
            listing::print(&mut stdout, &listed, json, terminal)?;
        }
        AccountsCommand::Show { id, history } => {
            let id = account_id(&id)?;
            let one = desk.find(&id).await?;
            let one = one.ok_or_else(|| Failure::usage(format!("account {id} is not known")))?;
            let changes = if history { Some(desk.store.account_history(&id).await?) } else { None };
            listing::show(&mut stdout, &one, changes.as_deref(), json)?;
        }
        AccountsCommand::Update { id, name, customer, regions, cloudtrail_bucket, session_policy } => {
            let id = account_id(&id)?;
            let some = |text: &String| (!text.is_empty()).then(|| text.clone());
            let account = desk
                .change(&id, |account| {
                    if let Some(name) = &name {
                        account.name = some(name);
                    }
                    if let Some(customer) = &customer {
                        account.customer = some(customer);
                    }
                    if let Some(regions) = &regions {
                        account.regions = regions.iter().filter(|region| !region.is_empty()).cloned().collect();
                    }
                    if let Some(bucket) = &cloudtrail_bucket {
                        account.cloudtrail_bucket.clone_from(&bucket.0);
                    }
                    if let Some(narrowed) = session_policy {
                        account.no_session_policy = !narrowed;
                    }
                })
                .await?;
            say(
                &mut stdout,
                json,
                &format!("account {id} is updated"),
                json!({ "id": id, "version": account.version }),
            )?;
        }
        AccountsCommand::UpgradeProfile { ids, all, profile } => {
            let ids = if all { binding::connected(&desk).await? } else { account_ids(&ids)? };
            binding::upgrade(&mut stdout, &desk, &ids, profile.as_deref(), json).await?;
        }
        AccountsCommand::Pause { ids } => {
            for id in account_ids(&ids)? {
                desk.pause(&id).await?;
                say(&mut stdout, json, &format!("account {id} is paused"), json!({ "id": id, "status": "paused" }))?;
            }
        }
        AccountsCommand::Resume { ids } => {
            for id in account_ids(&ids)? {
                desk.resume(&id).await?;
                say(&mut stdout, json, &format!("account {id} is resumed"), json!({ "id": id, "status": "resumed" }))?;
            }
        }
        AccountsCommand::Remove { ids, purge, yes, out } => {
            let ids = account_ids(&ids)?;
            let out = if purge { Some(Out::open_existing(&out)?) } else { None };
            if let Some(out) = &out {
                let listed: Vec<&str> = ids.iter().map(AccountId::as_str).collect();
                let what = format!("This deletes from {} all that was read of {}.", out.name, listed.join(", "));
                purge::confirm(&what, yes)?;
            }
            let mut exit = COMPLETE;
            for id in ids {
                desk.remove(&id).await?;
                let mut text = format!("account {id} is disconnected, and its grant erased");
                let mut object = json!({ "id": id, "status": "disconnected" });
                if let Some(out) = &out {
                    let purged = history::purge(out.sink.as_ref(), &id).await?;
                    text.push_str(&format!("; {}", purge::sentence(&purged)));
                    object["purged"] = purge::object(&purged);
                    exit = exit.max(purge::warn_unfinished(&purged));
                }
                say(&mut stdout, json, &text, object)?;
            }
            stdout.flush()?;
            if let Some(out) = &out {
                purge::note_versions(out);
            }
            return Ok(exit);
        }
        AccountsCommand::Rekey => {
            let keys = backing::keys(&args.key)?;
            let sealed = desk.rekey(&keys).await?;
            let text = format!("{} sealed anew with key {}", many(sealed, "grant"), keys.sealing_key());
            say(&mut stdout, json, &text, json!({ "sealed": sealed, "key": keys.sealing_key() }))?;
        }
        AccountsCommand::Export { to, .. } => {
            let copy = desk.copy().await?;
            let text = serde_json::to_string_pretty(&copy).map_err(Failure::failed)?;
            match to {
                None => writeln!(stdout, "{text}")?,
                Some(file) => {
                    std::fs::write(&file, text).map_err(|e| Failure::failed(format!("{}: {e}", file.display())))?;
                    display::note(&format!(
                        "{} written to {}; keep the key apart from it",
                        many(copy.accounts.len() as u64, "account"),
                        file.display()
                    ));
                }
            }
        }
        AccountsCommand::NewExternalId { .. }
        | AccountsCommand::AuditQuery { .. }
        | AccountsCommand::Add { .. }
        | AccountsCommand::Import { .. }
        | AccountsCommand::SyncOrg(_)
        | AccountsCommand::Verify(_)
        | AccountsCommand::Restore { .. } => {}
    }
    stdout.flush()?;
    Ok(COMPLETE)
}

fn desk(memory: &Memory) -> Connections {
    Connections {
        registry: Arc::clone(&memory.registry),
        store: Arc::clone(&memory.store),
        clock: Arc::new(SystemClock),
    }
}

async fn connect(args: &AccountsArgs, accounts: Vec<Account>, profile: &str) -> Result<u8, Failure> {
    let keys = backing::keys(&args.key)?;
    let desk = desk(&Memory::found(&args.store).await?);
    let offered = binding::offered(profile)?;
    let (mut added, mut updated, mut unchanged) = (0_u64, 0_u64, 0_u64);
    // Of a file no account stands twice.
    let mut connecting =
        stream::iter(&accounts).map(|account| desk.connect(&keys, account, &offered)).buffer_unordered(AT_ONCE);
    while let Some(connected) = connecting.next().await {
        match connected? {
            Connected::Added | Connected::Reconnected => added += 1,
            Connected::Updated => updated += 1,
            Connected::Unchanged => unchanged += 1,
        }
    }
    let text = format!(
        "{} connected, {} updated, {} as they were",
        many(added, "account"),
        grouped(updated),
        grouped(unchanged)
    );
    let object = json!({ "connected": added, "updated": updated, "unchanged": unchanged });
    say(&mut std::io::stdout().lock(), args.json, &text, object)?;
    Ok(COMPLETE)
}

fn read_file(file: &Path, partial: bool) -> Result<Vec<Account>, Failure> {
    let text = crate::scan::read_text(file).map_err(Failure::usage)?;
    let name = file.display().to_string();
    let is_csv = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let Judged { accounts, errors, warnings } =
        if is_csv { AccountsFile::judge_csv(&name, &text) } else { AccountsFile::judge(&name, &text) };
    for warning in warnings {
        display::note(&format!("warning: {warning}"));
    }
    if errors.is_empty() {
        return Ok(accounts);
    }
    let told = errors.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n");
    let mistakes = many(errors.len() as u64, "mistake");
    if partial && !accounts.is_empty() {
        display::note(&format!("{mistakes}; the accounts without one are connected:\n{told}"));
        return Ok(accounts);
    }
    Err(Failure::usage(format!("{mistakes}, and no account was connected:\n{told}")))
}

async fn restore(args: &AccountsArgs, file: &Path) -> Result<u8, Failure> {
    let text = crate::scan::read_text(file).map_err(Failure::usage)?;
    let copy: RegistryCopy = serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!(
            "{} is no copy of a registry ({error}): `fleetscan accounts export` makes one",
            file.display()
        ))
    })?;
    let memory = Memory::found(&args.store).await?;
    let written = desk(&memory).restore(&copy).await?;
    let text = format!(
        "{} of {} restored; the others are newer here, or were disconnected",
        written,
        many(copy.accounts.len() as u64, "account")
    );
    say(
        &mut std::io::stdout().lock(),
        args.json,
        &text,
        json!({ "restored": written, "in_copy": copy.accounts.len() }),
    )?;
    Ok(COMPLETE)
}

fn grant(id: &str, role_arn: &str, file: Option<&Path>) -> Result<Grant, Failure> {
    let of = parse_role_arn(role_arn).map_err(Failure::usage)?;
    if of.as_str() != id {
        return Err(Failure::usage(
            "the role ARN is of another account: write the role of the account that is connected",
        ));
    }
    let text = match file {
        Some(file) => crate::scan::read_text(file).map_err(Failure::usage)?,
        None => {
            display::note("The ExternalId, on one line:");
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            line
        }
    };
    let external_id = text.lines().next().unwrap_or_default().trim();
    check_external_id(external_id).map_err(Failure::usage)?;
    Ok(Grant { role_arn: Secret::new(role_arn), external_id: Secret::new(external_id) })
}

/// An operator wants the account left alone.
fn paused(id: &AccountId) -> Failure {
    Failure::usage(format!("account {id} is paused: `fleetscan accounts resume {id}` ends that"))
}

fn state(wanted: StateArg) -> AccountState {
    match wanted {
        StateArg::Pending => AccountState::Pending,
        StateArg::Active => AccountState::Active,
        StateArg::Degraded => AccountState::Degraded,
        StateArg::Revoked => AccountState::Revoked,
        StateArg::Paused => AccountState::Paused,
        StateArg::Disconnected => AccountState::Disconnected,
    }
}

fn account_id(text: &str) -> Result<AccountId, Failure> {
    text.parse().map_err(Failure::usage)
}

fn account_ids(texts: &[String]) -> Result<Vec<AccountId>, Failure> {
    texts.iter().map(|text| account_id(text)).collect()
}

fn say(out: &mut impl std::io::Write, json: bool, text: &str, object: serde_json::Value) -> Result<(), Failure> {
    match json {
        true => writeln!(out, "{object}")?,
        false => writeln!(out, "{text}")?,
    }
    Ok(())
}
