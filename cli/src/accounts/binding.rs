//! Which version of a profile an account's owner was told of, and what a newer one would add.

use super::say;
use crate::{failure::Failure, numbers::many, profile, services};
use fleetscan_coordinator::{Connections, Offered};
use fleetscan_proto::{AccountId, Profile, RegisteredAccount, catalogue::Catalogue};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    sync::{Mutex, PoisonError},
};

/// What a profile reads at present, by its name or its file.
pub fn offered(profile: &str) -> Result<Offered, Failure> {
    Offered::of(&profile::named(profile)?, services::catalogue()).map_err(Failure::usage)
}

/// What of a part of the catalogue an account's owner was told of.
pub fn told_of(part: &Catalogue, told: &[String]) -> Result<Catalogue, Failure> {
    let told: HashSet<&str> = told.iter().map(String::as_str).collect();
    part.narrowed(|service, operation| operation.is_told(service, &told)).map_err(Failure::failed)
}

/// What the newest version of an account's profile reads, and its owner was not told of. Of a profile of the operator's
/// own, only its file could tell.
pub fn would_add(account: &RegisteredAccount) -> Vec<String> {
    // What a profile comes to takes milliseconds to find, and thousands of accounts share a few.
    static NEWEST: Mutex<BTreeMap<String, Option<Offered>>> = Mutex::new(BTreeMap::new());
    let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
    let found = newest.entry(account.profile.clone()).or_insert_with(|| {
        Profile::built_in(&account.profile).and_then(|profile| Offered::of(profile, services::catalogue()).ok())
    });
    found.as_ref().map(|offered| offered.beyond(account)).unwrap_or_default()
}

/// Every connected account.
pub async fn connected(desk: &Connections) -> Result<Vec<AccountId>, Failure> {
    let accounts = desk.accounts().await?;
    Ok(accounts.into_iter().filter(|account| account.grant.is_some()).map(|account| account.id).collect())
}

/// Moves accounts to what a profile reads now, and says what that adds. All profiles are looked up before any account
/// is changed.
pub async fn upgrade(
    out: &mut impl Write,
    desk: &Connections,
    ids: &[AccountId],
    profile: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let mut moves = Vec::new();
    let known = desk.accounts().await?;
    for id in ids {
        let account = known.iter().find(|account| account.id == *id);
        let account = account.ok_or_else(|| Failure::usage(format!("account {id} is not known")))?;
        let own = match Profile::built_in(&account.profile) {
            Some(_) => account.profile.as_str(),
            None if account.told.is_none() => fleetscan_proto::DEFAULT_PROFILE,
            None if profile.is_none() => {
                let name = &account.profile;
                return Err(Failure::usage(format!(
                    "account {id} has your own profile {name}: name its file with --profile"
                )));
            }
            None => "",
        };
        moves.push((id, offered(profile.unwrap_or(own))?));
    }
    for (id, offered) in moves {
        let added = desk.upgrade(id, &offered).await?;
        let (name, version) = (&offered.profile, offered.told.version);
        let mut text = format!("account {id} has profile {name} version {version}");
        if !added.is_empty() {
            text.push_str(&format!("; {} more: {}", many(added.len() as u64, "operation"), added.join(", ")));
        }
        say(out, json, &text, json!({ "id": id, "profile": name, "profile_version": version, "added": added }))?;
    }
    Ok(())
}
