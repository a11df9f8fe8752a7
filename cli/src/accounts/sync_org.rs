//! `fleetscan accounts sync-org`: connects an organisation's accounts, and notes which are suspended, closed or gone.

use super::{binding, desk};
use crate::{
    args::{AccountsArgs, SyncOrgArgs},
    backing::{self, Memory},
    display,
    failure::{COMPLETE, FAILED, Failure, HOLES},
    hub,
    numbers::many,
    profile, services,
    terminal::Terminal,
};
use fleetscan_backends::{Keyring, SealedGrants};
use fleetscan_coordinator::{Connections, Difference, Offered, Registry, difference};
use fleetscan_proto::{
    Account, AccountId, Grant, Grants, Membership, Organisation, Secret, SystemClock, check_external_id, parse_role_arn,
};
use fleetscan_worker::{organisation::OrganisationReader, reads::Reads, verify::VerifierParts};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    sync::Arc,
};

/// Stands for an account's id in the ExternalId's file.
const PLACE: &str = "{account}";

pub async fn run(args: &AccountsArgs, asked: &SyncOrgArgs, terminal: Terminal) -> Result<u8, Failure> {
    let template = ExternalIds::read(&asked.external_id_file)?;
    let offered = binding::offered(&asked.profile)?;
    let keys = backing::keys(&args.key)?;
    let memory = Memory::found(&args.store).await?;
    let desk = desk(&memory);
    let (manager, grants) = manager(asked, &template, &memory, &keys).await?;
    let partition = partition(manager.grant.role_arn.expose());
    let reader = OrganisationReader::new(VerifierParts {
        hub: Arc::new(hub::connect(&asked.hub).await?),
        grants,
        store: Arc::clone(&memory.store),
        clock: Arc::new(SystemClock),
        catalogue: Arc::new(services::catalogue().clone()),
        session_prefix: asked.hub.session_prefix.clone(),
    });
    let part = profile::named("organisation")?.of(services::catalogue()).map_err(Failure::failed)?;
    let reads = Arc::new(Reads::new(part, true).map_err(Failure::failed)?);
    let organisation = reader.read(&manager, reads).await.map_err(Failure::failed)?;
    let found = difference(&organisation, &desk.accounts().await?, asked.ou.as_deref(), Timestamp::now());
    let sync = Sync { asked, organisation: &organisation, found: &found, json: args.json, terminal };
    sync.show()?;
    let done = !asked.dry_run && !found.is_empty() && sync.may_go_on()?;
    if done {
        let members = Members { template: &template, partition: &partition, asked, offered: &offered };
        apply(&desk, &keys, &members, &found).await?;
    }
    sync.end(done)?;
    Ok(match (organisation.gaps.is_empty(), done || asked.dry_run || found.is_empty()) {
        (false, _) => HOLES,
        (true, true) => COMPLETE,
        (true, false) => FAILED,
    })
}

/// The ExternalIds of members: one for all, or one an account where the text has [`PLACE`].
struct ExternalIds(Secret);

impl ExternalIds {
    fn read(file: &Path) -> Result<Self, Failure> {
        let text = crate::scan::read_named("ExternalId", file).map_err(Failure::usage)?;
        let ids = Self(Secret::new(text.lines().next().unwrap_or_default().trim()));
        check_external_id(&ids.text("000000000000")).map_err(Failure::usage)?;
        Ok(ids)
    }

    fn text(&self, account: &str) -> String {
        self.0.expose().replace(PLACE, account)
    }

    fn of(&self, account: &AccountId) -> Secret {
        Secret::new(self.text(account.as_str()))
    }
}

/// Who reads the organisation: a role that was named, or a connected account.
async fn manager(
    asked: &SyncOrgArgs,
    template: &ExternalIds,
    memory: &Memory,
    keys: &Keyring,
) -> Result<(Account, Arc<dyn Grants>), Failure> {
    if let Ok(id) = asked.org_role.parse::<AccountId>() {
        let grants: Arc<dyn Grants> = Arc::new(SealedGrants::new(Arc::clone(&memory.registry), keys.clone()));
        let account = grants.account(&id).await.map_err(Failure::failed)?;
        let account =
            account.ok_or_else(|| Failure::usage(format!("account {id} is not connected: name its role's ARN")))?;
        return Ok((account, grants));
    }
    let id = parse_role_arn(&asked.org_role).map_err(|error| Failure::usage(format!("--org-role: {error}")))?;
    let external_id = match &asked.org_external_id_file {
        Some(file) => ExternalIds::read(file)?.of(&id),
        None => template.of(&id),
    };
    let grant = Grant { role_arn: Secret::new(&asked.org_role), external_id };
    let account = Account { id, grant, name: None, customer: None, regions: Vec::new() };
    Ok((account.clone(), Arc::new(Registry::new(vec![account]))))
}

fn partition(role_arn: &str) -> String {
    role_arn.split(':').nth(1).unwrap_or("aws").to_owned()
}

/// How new members are connected.
struct Members<'a> {
    template: &'a ExternalIds,
    partition: &'a str,
    asked: &'a SyncOrgArgs,
    offered: &'a Offered,
}

async fn apply(desk: &Connections, keys: &Keyring, members: &Members<'_>, found: &Difference) -> Result<(), Failure> {
    for (id, (member, membership)) in &found.added {
        let role_arn = format!("arn:{}:iam::{id}:role/{}", members.partition, members.asked.role_name);
        let account = Account {
            id: id.clone(),
            grant: Grant { role_arn: Secret::new(role_arn), external_id: members.template.of(id) },
            name: Some(member.name.clone()).filter(|name| !name.trim().is_empty()),
            customer: members.asked.customer.clone(),
            regions: Vec::new(),
        };
        desk.connect(keys, &account, members.offered).await?;
        desk.joined(id, membership).await?;
    }
    for (id, (_, membership)) in &found.changed {
        desk.joined(id, membership).await?;
    }
    Ok(())
}

/// A synchronisation, as it is told of.
struct Sync<'a> {
    asked: &'a SyncOrgArgs,
    organisation: &'a Organisation,
    found: &'a Difference,
    json: bool,
    terminal: Terminal,
}

impl Sync<'_> {
    fn show(&self) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        let organisation = self.organisation;
        writeln!(out, "Organisation {}: {}", organisation.id, many(organisation.members.len() as u64, "account"))?;
        for gap in &organisation.gaps {
            writeln!(out, "  {}  {gap}", self.terminal.yellow("not read"))?;
        }
        if !organisation.gaps.is_empty() {
            writeln!(out, "  It was not read whole: new accounts may be added, and none is marked.")?;
        }
        for (id, (member, _)) in &self.found.added {
            writeln!(out, "  {}       {id}  {}  {}", self.terminal.green("add"), member.path, member.name)?;
        }
        for (id, (before, after)) in &self.found.changed {
            writeln!(out, "  {}      {id}  {}", self.terminal.yellow("mark"), change(before.as_ref(), after))?;
        }
        for (id, why) in &self.found.skipped {
            writeln!(out, "  leave     {id}  {why}")?;
        }
        Ok(writeln!(out, "  {} as they were", self.found.unchanged)?)
    }

    /// Somebody at a terminal is asked first.
    fn may_go_on(&self) -> Result<bool, Failure> {
        if self.asked.yes || self.json || !std::io::stdin().is_terminal() {
            return Ok(true);
        }
        let (add, mark) = (self.found.added.len() as u64, self.found.changed.len() as u64);
        display::note(&format!("Add {} and mark {}? Write yes to go on:", many(add, "account"), many(mark, "account")));
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim().eq_ignore_ascii_case("yes"))
    }

    fn end(&self, done: bool) -> Result<(), Failure> {
        if self.json {
            return Ok(writeln!(std::io::stdout().lock(), "{}", self.object(done))?);
        }
        let (add, mark) = (self.found.added.len() as u64, self.found.changed.len() as u64);
        let (added, marked) = (many(add, "account"), many(mark, "account"));
        display::note(&match (done, self.found.is_empty()) {
            (true, _) => format!("{added} added, {marked} marked; `fleetscan accounts verify` looks at their roles"),
            (false, true) => "nothing to do".to_owned(),
            (false, false) => format!("nothing was changed; {added} would be added, {marked} marked"),
        });
        Ok(())
    }

    fn object(&self, done: bool) -> Value {
        let found = self.found;
        let added = found.added.iter().map(|(id, (member, membership))| {
            json!({ "id": id, "name": member.name, "path": membership.path, "policies": membership.policies })
        });
        let changed =
            found.changed.iter().map(|(id, (before, after))| json!({ "id": id, "before": before, "after": after }));
        let skipped = found.skipped.iter().map(|(id, why)| json!({ "id": id, "why": why }));
        json!({
            "organisation": self.organisation.id, "accounts": self.organisation.members.len(),
            "complete": self.organisation.gaps.is_empty(), "gaps": self.organisation.gaps, "applied": done,
            "added": added.collect::<Vec<_>>(), "marked": changed.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(), "unchanged": found.unchanged,
        })
    }
}

/// What differs, in words.
fn change(before: Option<&Membership>, after: &Membership) -> String {
    let Some(before) = before else { return format!("{} in {}", after.standing.as_str(), after.path) };
    let mut parts = Vec::new();
    if before.standing != after.standing {
        parts.push(format!("{} → {}", before.standing.as_str(), after.standing.as_str()));
    }
    if before.path != after.path {
        parts.push(format!("{} → {}", before.path, after.path));
    }
    if before.policies != after.policies {
        parts.push(format!("policies: {}", after.policies.join(", ")));
    }
    if before.organisation != after.organisation {
        parts.push(format!("organisation {}", after.organisation));
    }
    parts.join("; ")
}
