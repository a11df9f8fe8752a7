//! `fleetscan accounts sync-org`: connects an organisation's accounts, and notes which are suspended, closed or gone.

use super::{binding, desk, paused};
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
use fleetscan_coordinator::{
    Connections, Difference, Offered, Registry, difference, seen_in_either, wants_another_look,
};
use fleetscan_proto::{
    Account, AccountId, AccountState, Grant, Grants, Membership, Organisation, Secret, SystemClock,
    catalogue::Catalogue, check_external_id, parse_role_arn,
};
use fleetscan_worker::{
    organisation::{OPERATIONS, OrganisationReader},
    reads::Reads,
    verify::VerifierParts,
};
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
    let Manager { account: manager, grants, reads } = Manager::find(asked, &template, &memory, &keys).await?;
    let partition = partition(manager.grant.role_arn.expose());
    let reader = OrganisationReader::new(VerifierParts {
        hub: Arc::new(hub::connect(&asked.hub).await?),
        grants,
        store: Arc::clone(&memory.store),
        clock: Arc::new(SystemClock),
        catalogue: Arc::new(services::catalogue().clone()),
        session_prefix: asked.hub.session_prefix.clone(),
        share: asked.share,
        cloudtrail_bucket: None,
    });
    reader.heed(&memory.fleet.orders().await?.switches);
    let registered = desk.accounts().await?;
    let mut organisation = reader.read(&manager, Arc::clone(&reads)).await.map_err(Failure::failed)?;
    if wants_another_look(&organisation, &registered) {
        match reader.read(&manager, reads).await {
            Ok(again) => organisation = seen_in_either(organisation, again),
            Err(error) => organisation.gaps.push(format!("accounts that are missing, once more: {error}")),
        }
    }
    let found = difference(&organisation, &registered, asked.ou.as_deref(), Timestamp::now());
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
struct Manager {
    account: Account,
    grants: Arc<dyn Grants>,
    reads: Arc<Reads>,
}

impl Manager {
    async fn find(
        asked: &SyncOrgArgs,
        template: &ExternalIds,
        memory: &Memory,
        keys: &Keyring,
    ) -> Result<Self, Failure> {
        let named = asked.org_role.parse::<AccountId>().ok();
        let id = match &named {
            Some(id) => id.clone(),
            None => parse_role_arn(&asked.org_role).map_err(|error| Failure::usage(format!("--org-role: {error}")))?,
        };
        let status = memory.store.account_status(&id).await?;
        if status.is_some_and(|status| status.state == AccountState::Paused) {
            return Err(paused(&id));
        }
        if named.is_some() {
            return Self::connected(id, memory, keys).await;
        }
        let external_id = match &asked.org_external_id_file {
            Some(file) => ExternalIds::read(file)?.of(&id),
            None => template.of(&id),
        };
        let grant = Grant { role_arn: Secret::new(&asked.org_role), external_id };
        let account = Account { id, grant, name: None, customer: None, regions: Vec::new(), cloudtrail_bucket: None };
        let reads = Reads::new(part()?, true).map_err(Failure::failed)?;
        Ok(Self { account: account.clone(), grants: Arc::new(Registry::new(vec![account])), reads: Arc::new(reads) })
    }

    /// A connected account: no more of it is read than its owner was told of.
    async fn connected(id: AccountId, memory: &Memory, keys: &Keyring) -> Result<Self, Failure> {
        let grants: Arc<dyn Grants> = Arc::new(SealedGrants::new(Arc::clone(&memory.registry), keys.clone()));
        let account = grants.account(&id).await.map_err(Failure::failed)?;
        let registered = memory.registry.registered(&id).await?;
        let (Some(account), Some(registered)) = (account, registered) else {
            return Err(Failure::usage(format!("account {id} is not connected: name its role's ARN")));
        };
        let mut part = part()?;
        if let Some(told) = &registered.told {
            part = binding::told_of(&part, &told.operations)?;
        }
        if let Some(untold) = OPERATIONS.iter().find(|name| part.operation("organizations", name).is_none()) {
            return Err(Failure::usage(format!(
                "the owner of account {id} was not told that organizations:{untold} is read: once they are, \
                 `fleetscan accounts upgrade-profile {id} --profile full` or `organisation`"
            )));
        }
        let reads = Reads::new(part, !registered.no_session_policy).map_err(Failure::failed)?;
        Ok(Self { account, grants, reads: Arc::new(reads) })
    }
}

/// What may be read of an organisation.
fn part() -> Result<Catalogue, Failure> {
    profile::named("organisation")?.of(services::catalogue()).map_err(Failure::failed)
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
            cloudtrail_bucket: None,
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
        if self.asked.yes || !std::io::stdin().is_terminal() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::StoreArgs;
    use fleetscan_proto::RegisteredAccount;

    #[tokio::test]
    async fn a_connected_manager_is_read_no_further_than_its_owner_was_told_and_on_its_own_terms() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().to_owned();
        let store = StoreArgs { store: None, store_password_file: None, store_ca: None, data };
        let memory = Memory::open(&store).await.expect("opens");
        let keys = Keyring::parse("ZmxlZXRzY2FuLXRlc3RzLWtleS0wMTIzNDU2Nzg5YWI=").expect("a key");
        let id: AccountId = "111122223333".parse().expect("an id");
        let role_arn = Secret::new("arn:aws:iam::111122223333:role/Reader");
        let grant = Grant { role_arn, external_id: Secret::new("an-external-id") };
        let account =
            Account { id: id.clone(), grant, name: None, customer: None, regions: Vec::new(), cloudtrail_bucket: None };
        let desk = desk(&memory);
        desk.connect(&keys, &account, &binding::offered("minimal").expect("a profile")).await.expect("connected");
        let refused = Manager::connected(id.clone(), &memory, &keys).await.err().expect("refused");
        assert!(refused.message().contains("upgrade-profile 111122223333"), "{}", refused.message());
        desk.upgrade(&id, &binding::offered("full").expect("a profile")).await.expect("told");
        let tags = "organizations:ListTagsForResource";
        let untold = |account: &mut RegisteredAccount| {
            account.told.iter_mut().for_each(|told| told.operations.retain(|operation| operation != tags));
        };
        desk.change(&id, untold).await.expect("changed");
        let reads = Manager::connected(id.clone(), &memory, &keys).await.expect("a manager").reads;
        assert!(reads.session_policy().is_some());
        let of = |name: &str| reads.catalogue().operation("organizations", name).is_some();
        assert!(of("ListRoots") && !of("ListTagsForResource") && reads.catalogue().service("lambda").is_none());
        desk.change(&id, |account| account.no_session_policy = true).await.expect("changed");
        let reads = Manager::connected(id, &memory, &keys).await.expect("a manager").reads;
        assert!(reads.session_policy().is_none(), "the organisation forbids it");
    }
}
