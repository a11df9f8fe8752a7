//! Which cells an account has, and the digest that tells one plan from another. Pure.

use crate::Registry;
use fleetscan_proto::{
    AccountId, Cell, DEFAULT_REGIONS, GLOBAL,
    catalogue::{Catalogue, Scope},
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashSet};

/// The services of a scan, told apart by scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// One cell a region.
    pub regional: Vec<String>,
    /// One cell an account.
    pub global: Vec<String>,
}

impl Services {
    /// The named services (all that a scan reads by default, if none is named), in the catalogue's order. Services
    /// without cells are left out. A name that the catalogue lacks has a cell an account, so that it is missing from no
    /// ledger: a scan that another version asked for has come to its deadline.
    pub fn of(catalogue: &Catalogue, names: &[String]) -> Self {
        let chosen = |id: &String| names.is_empty() || names.contains(id);
        let (global, regional): (Vec<_>, Vec<_>) =
            catalogue.scanned().filter(|s| chosen(&s.id)).partition(|s| matches!(s.scope, Scope::Global { .. }));
        let ids = |services: Vec<&std::sync::Arc<_>>| {
            services.into_iter().map(|s: &std::sync::Arc<fleetscan_proto::catalogue::Service>| s.id.clone()).collect()
        };
        let mut global: Vec<String> = ids(global);
        global.extend(names.iter().filter(|name| catalogue.service(name).is_none()).cloned());
        Self { regional: ids(regional), global }
    }

    /// Those of them of which the account's owner was told at least one operation.
    pub fn told(&self, catalogue: &Catalogue, told: &[String]) -> Self {
        let told: HashSet<&str> = told.iter().map(String::as_str).collect();
        let reads = |id: &&String| match catalogue.service(id) {
            Some(s) => s.operations.iter().any(|operation| !operation.probe && operation.is_told(s, &told)),
            None => told.iter().any(|name| name.split_once(':').is_some_and(|(service, _)| service == *id)),
        };
        let of = |list: &[String]| list.iter().filter(reads).cloned().collect();
        Self { regional: of(&self.regional), global: of(&self.global) }
    }

    /// All of them, sorted.
    pub fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = self.regional.iter().chain(&self.global).cloned().collect();
        all.sort();
        all
    }

    /// How many cells an account with so many regions has.
    pub fn cells(&self, regions: usize) -> usize {
        self.regional.len() * regions + self.global.len()
    }
}

/// Regions where most accounts have most of what they have.
const BUSY: [&str; 6] = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2", "ap-northeast-1"];

/// An account's cells: each regional service in each of the account's regions that neither list leaves out (an empty
/// list leaves out none), and each global service once. What is likely to take longest comes first, so that a scan does
/// not end with waiting for one giant begun last: global cells, then those of busy regions. Within that they are
/// shuffled by a fixed rule, so that neighbours draw on different buckets.
pub fn cells(account: &AccountId, enabled: &[String], lists: [&[String]; 2], services: &Services) -> Vec<Cell> {
    let regions: BTreeSet<&String> =
        enabled.iter().filter(|region| lists.iter().all(|list| list.is_empty() || list.contains(region))).collect();
    let mut regional: Vec<((bool, u64), Cell)> = regions
        .into_iter()
        .flat_map(|region| services.regional.iter().map(move |s| Cell::new(account.clone(), region, s)))
        .map(|cell| ((!BUSY.contains(&cell.region.as_str()), order(&cell)), cell))
        .collect();
    regional.sort_unstable();
    let global = services.global.iter().map(|service| Cell::new(account.clone(), GLOBAL, service));
    global.chain(regional.into_iter().map(|(_, cell)| cell)).collect()
}

/// The regions of an account that would not tell which it has enabled: those that its operator named, else those that
/// every account has.
pub fn assumed_regions(named: &[String]) -> Vec<String> {
    match named {
        [] => DEFAULT_REGIONS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    }
}

/// FNV-1a with a final mix: spreads neighbours apart, and is the same in every process.
fn order(cell: &Cell) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in cell.account.as_str().bytes().chain(cell.region.bytes()).chain([0]).chain(cell.service.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// What a scan was asked, apart from its accounts.
#[derive(Debug, Clone, Copy)]
pub struct PlanParts<'a> {
    /// Regional cells are limited to these.
    pub regions: &'a [String],
    /// Services to read.
    pub services: &'a [String],
    /// The catalogue's digest.
    pub catalogue: &'a str,
    /// The profile's name.
    pub profile: &'a str,
    /// Root of the results.
    pub out: &'a str,
}

/// Names exactly this plan: same accounts with the same grants and regions, same services, catalogue, profile and
/// place of results. Grants go in hashed twice and cannot be read from it.
pub fn digest(accounts: &Registry, parts: &PlanParts<'_>) -> String {
    let mut plan = Sha256::new();
    let mut field = |name: &str, value: &str| {
        plan.update(name.as_bytes());
        plan.update((value.len() as u64).to_be_bytes());
        plan.update(value.as_bytes());
    };
    for (name, list) in [("regions", parts.regions), ("services", parts.services)] {
        let sorted: BTreeSet<&str> = list.iter().map(String::as_str).collect();
        field(name, &sorted.into_iter().collect::<Vec<_>>().join(","));
    }
    field("catalogue", parts.catalogue);
    field("profile", parts.profile);
    field("out", parts.out);
    for account in accounts.iter() {
        let mut grant = Sha256::new();
        grant.update(account.grant.role_arn.expose().as_bytes());
        grant.update([0]);
        grant.update(account.grant.external_id.expose().as_bytes());
        let regions: BTreeSet<&str> = account.regions.iter().map(String::as_str).collect();
        field("account", account.id.as_str());
        field("grant", &hex(&grant.finalize()));
        field("regions", &regions.into_iter().collect::<Vec<_>>().join(","));
    }
    hex(&plan.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::{Account, Grant, Secret};

    fn services() -> Services {
        Services { regional: vec!["lambda".into(), "sns".into()], global: vec!["iam".into()] }
    }
    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }
    fn account(id: &str, external_id: &str) -> Account {
        Account {
            id: id.parse().expect("id"),
            grant: Grant {
                role_arn: Secret::new(format!("arn:aws:iam::{id}:role/R")),
                external_id: Secret::new(external_id),
            },
            name: None,
            customer: None,
            regions: Vec::new(),
            cloudtrail_bucket: None,
        }
    }
    const PARTS: PlanParts<'static> =
        PlanParts { regions: &[], services: &[], catalogue: "c", profile: "standard", out: "file:///x" };

    #[test]
    fn a_global_service_has_one_cell_and_a_regional_one_a_cell_in_each_region() {
        let id = "111122223333".parse().expect("id");
        let cells = cells(&id, &names(&["eu-west-1", "us-east-1"]), [&[], &[]], &services());
        assert_eq!(cells.len(), 5);
        assert_eq!(cells[0], Cell::new(id, GLOBAL, "iam"));
        let unique: BTreeSet<_> = cells.iter().collect();
        assert_eq!(unique.len(), 5);
    }

    #[test]
    fn both_lists_of_regions_narrow_but_global_cells_stay() {
        let id = "111122223333".parse().expect("id");
        let enabled = names(&["eu-west-1", "us-east-1", "us-west-2"]);
        let of = |a: &[&str], b: &[&str]| cells(&id, &enabled, [&names(a), &names(b)], &services()).len();
        assert_eq!(of(&["eu-west-1"], &[]), 3);
        assert_eq!(of(&["eu-west-1", "us-east-1"], &["us-east-1", "ap-south-1"]), 3);
        assert_eq!(of(&["af-south-1"], &[]), 1, "a region that is not enabled has no cells");
    }

    #[test]
    fn neighbouring_cells_are_spread_over_regions_and_services() {
        let id = "111122223333".parse().expect("id");
        let regions: Vec<String> = DEFAULT_REGIONS.map(str::to_owned).to_vec();
        let many = Services { regional: names(&["a", "b", "c", "d", "e"]), global: vec![] };
        let cells = cells(&id, &regions, [&[], &[]], &many);
        let same = cells.windows(2).filter(|pair| pair[0].region == pair[1].region).count();
        assert!(same < cells.len() / 4, "{same} of {} neighbours share a region", cells.len());
    }

    #[test]
    fn cells_of_busy_regions_come_before_those_of_quiet_ones() {
        let id = "111122223333".parse().expect("id");
        let regions: Vec<String> = DEFAULT_REGIONS.map(str::to_owned).to_vec();
        let cells = cells(&id, &regions, [&[], &[]], &services());
        let busy: Vec<bool> = cells.iter().skip(1).map(|cell| BUSY.contains(&cell.region.as_str())).collect();
        assert_eq!(busy.iter().filter(|busy| **busy).count(), 12);
        assert!(busy[..12].iter().all(|busy| *busy));
    }

    #[test]
    fn the_digest_changes_with_what_is_read_and_not_with_order() {
        let registry = |list: &[(&str, &str)]| Registry::new(list.iter().map(|(id, x)| account(id, x)).collect());
        let one = ("111122223333", "abcdefghijklmnop");
        let two = ("444455556666", "abcdefghijklmnop");
        let base = digest(&registry(&[one, two]), &PARTS);
        assert_eq!(base, digest(&registry(&[two, one]), &PARTS));
        assert_ne!(base, digest(&registry(&[one]), &PARTS));
        assert_ne!(base, digest(&registry(&[(one.0, "another-external-id"), two]), &PARTS));
        let regions = names(&["eu-west-1", "us-east-1"]);
        let turned = names(&["us-east-1", "eu-west-1"]);
        let limited = digest(&registry(&[one, two]), &PlanParts { regions: &regions, ..PARTS });
        assert_ne!(base, limited);
        assert_eq!(limited, digest(&registry(&[one, two]), &PlanParts { regions: &turned, ..PARTS }));
        assert!(!base.contains("abcdef"), "no secret in it");
    }
}
