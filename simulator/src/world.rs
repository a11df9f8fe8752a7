//! Which accounts there are, and how much is where. Nothing is stored but a few words an account: the rest is
//! computed from the seed whenever it is asked for.

use crate::{
    config::{Config, Sizes, WorldKind},
    dice::Dice,
    persona::{Persona, Size},
    region::RegionId,
};
use std::{collections::BTreeMap, fmt::Write as _};

/// An account by its number.
pub(crate) type AccountIndex = u32;

/// The role that every customer made.
pub(crate) const ROLE: &str = "SecurityV0ReadOnly";
/// The account that the hub lives in.
pub(crate) const HUB_ACCOUNT: &str = "900000000001";
/// The hub's own identity.
pub(crate) const HUB_ARN: &str = "arn:aws:iam::900000000001:user/fleetscan-hub";
/// A role that the hub may assume in its own account.
pub(crate) const HUB_ROLE_ARN: &str = "arn:aws:iam::900000000001:role/fleetscan-hub-role";
/// What that role's trust asks for.
pub(crate) const HUB_EXTERNAL_ID: &str = "simulated-hub-external-id";
/// Stands for the hub's account in sessions.
pub(crate) const HUB_INDEX: AccountIndex = AccountIndex::MAX;

/// Account numbers are spread over the twelve-digit ids by multiplying with this, modulo a thousand million.
const SPREAD: u64 = 618_033_989;
/// Its inverse, modulo the same.
const GATHER: u64 = inverse(SPREAD, ID_SPACE);
const ID_SPACE: u64 = 1_000_000_000;
const FIRST_ID: u64 = 210_000_000_000;

/// How many items a list has, by how much there is in its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) small: (u64, u64),
    pub(crate) medium: (u64, u64),
    pub(crate) giant: (u64, u64),
    /// At least so many even where nobody works (a default VPC).
    pub(crate) everywhere: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { small: (0, 2), medium: (1, 8), giant: (10, 30), everywhere: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    kind: WorldKind,
    personas: Vec<Persona>,
}

impl World {
    pub(crate) fn new(config: &Config) -> Self {
        let personas = (0..config.accounts).map(|index| Persona::of(config, index)).collect();
        Self { seed: config.seed, kind: config.world.clone(), personas }
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = AccountIndex> + use<> {
        0..self.personas.len() as AccountIndex
    }
    pub(crate) fn persona(&self, account: AccountIndex) -> &Persona {
        &self.personas[account as usize]
    }

    /// Twelve digits.
    pub(crate) fn id(&self, account: AccountIndex) -> String {
        let spread = (u64::from(account) * SPREAD + self.shift()) % ID_SPACE;
        format!("{:012}", FIRST_ID + spread)
    }
    /// The account of an id.
    pub(crate) fn account(&self, id: &str) -> Option<AccountIndex> {
        if id.len() != 12 {
            return None;
        }
        let spread = id.parse::<u64>().ok()?.checked_sub(FIRST_ID).filter(|n| *n < ID_SPACE)?;
        let back = (spread + ID_SPACE - self.shift()) % ID_SPACE;
        let index = (u128::from(back) * u128::from(GATHER) % u128::from(ID_SPACE)) as u64;
        (index < self.personas.len() as u64).then_some(index as AccountIndex)
    }
    fn shift(&self) -> u64 {
        Dice::new(self.seed).text("ids").below(ID_SPACE)
    }
    pub(crate) fn dice(&self, account: AccountIndex) -> Dice {
        Dice::new(self.seed).text("account").number(u64::from(account))
    }

    /// What the customer called the account.
    pub(crate) fn name(&self, account: AccountIndex) -> String {
        const TEAMS: [&str; 16] = [
            "payments",
            "search",
            "ledger",
            "catalog",
            "identity",
            "media",
            "logistics",
            "risk",
            "billing",
            "growth",
            "data",
            "platform",
            "mobile",
            "support",
            "research",
            "edge",
        ];
        const STAGES: [&str; 4] = ["prod", "staging", "dev", "sandbox"];
        let dice = self.dice(account);
        let team = TEAMS[dice.text("team").below(TEAMS.len() as u64) as usize];
        let stage = STAGES[dice.text("stage").below(STAGES.len() as u64) as usize];
        format!("{team}-{stage}-{account:02}")
    }
    /// Whose it is: about three accounts a customer.
    pub(crate) fn customer(&self, account: AccountIndex) -> String {
        format!("customer-{:02}", account / 3)
    }
    pub(crate) fn role_arn(&self, account: AccountIndex) -> String {
        format!("arn:aws:iam::{}:role/{ROLE}", self.id(account))
    }
    /// What the accounts file says; `rotation` counts how often the customer changed it since.
    pub(crate) fn external_id(&self, account: AccountIndex, rotation: u32) -> String {
        format!("sv0-{}", self.dice(account).text("external-id").number(u64::from(rotation)).hex(28))
    }

    /// The dice of a cell.
    pub(crate) fn cell(&self, account: AccountIndex, region: RegionId, service: &str) -> Dice {
        self.dice(account).text(region.name()).text(service)
    }

    /// How many items a list has that no other item owns. Lists of one `seed` have one length.
    pub(crate) fn count(&self, account: AccountIndex, region: RegionId, key: ListKey<'_>, spread: &Spread) -> usize {
        let persona = self.persona(account);
        if !persona.has_region(region) {
            return 0;
        }
        let first = |regions: usize| {
            region == RegionId::GLOBAL || RegionId::of(persona.enabled).take(regions).any(|r| r == region)
        };
        match &self.kind {
            WorldKind::Empty => 0,
            WorldKind::Uniform { items, regions } => {
                if first(*regions) {
                    *items
                } else {
                    0
                }
            }
            WorldKind::Counts { items, regions } if first(*regions) => counted(items, key),
            WorldKind::Mixed { items, regions, sizes } if first(*regions) => {
                (counted(items, key) as f64 * self.factor(account, *sizes)).round() as usize
            }
            WorldKind::Counts { .. } | WorldKind::Mixed { .. } => 0,
            WorldKind::Demo | WorldKind::Giants => {
                let dice = self.cell(account, region, key.service).text("count").text(key.seed);
                let drawn = match self.activity(account, region) {
                    None => 0,
                    Some(Size::Small) => dice.between(spread.small.0, spread.small.1),
                    Some(Size::Medium) => dice.between(spread.medium.0, spread.medium.1),
                    Some(Size::Giant) => dice.between(spread.giant.0, spread.giant.1),
                };
                drawn.max(spread.everywhere) as usize
            }
        }
    }

    /// By how much an account differs from one in the middle, all of its lists alike.
    fn factor(&self, account: AccountIndex, sizes: Sizes) -> f64 {
        let times = f64::from(sizes.times);
        if (account as usize) < sizes.giants {
            return times;
        }
        // Box and Muller's way from two even draws to a normal one.
        let dice = self.dice(account).text("factor");
        let (first, second) = (1.0 - dice.number(0).fraction(), dice.number(1).fraction());
        let normal = (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos();
        let factor = (f64::from(sizes.spread) / 100.0 * normal).exp();
        if sizes.giants > 0 { factor.min(times / 2.0) } else { factor }
    }

    /// How much is going on in a region.
    fn activity(&self, account: AccountIndex, region: RegionId) -> Option<Size> {
        let persona = self.persona(account);
        if region == RegionId::GLOBAL || region == persona.home {
            return Some(persona.size);
        }
        let dice = self.dice(account).text("activity").text(region.name());
        match persona.size {
            _ if region.is_opt_in() => dice.chance(0.7).then_some(Size::Small),
            Size::Small => dice.chance(0.06).then_some(Size::Small),
            Size::Medium if dice.chance(0.15) => Some(Size::Medium),
            Size::Medium => dice.text("less").chance(0.1).then_some(Size::Small),
            Size::Giant if dice.chance(0.2) => Some(Size::Medium),
            Size::Giant => dice.text("less").chance(0.2).then_some(Size::Small),
        }
    }
}

/// The items that a list was given by its name.
fn counted(items: &BTreeMap<String, usize>, key: ListKey<'_>) -> usize {
    let mut name = String::with_capacity(48);
    let _ = write!(name, "{}:{}", key.service, key.operation);
    items.get(&name).copied().unwrap_or(0)
}

/// Names a list that no other item owns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListKey<'a> {
    pub(crate) service: &'a str,
    pub(crate) operation: &'a str,
    /// Shared by lists that show the same things.
    pub(crate) seed: &'a str,
}

const fn inverse(number: u64, modulus: u64) -> u64 {
    let (mut r0, mut r1) = (modulus as i128, number as i128);
    let (mut t0, mut t1) = (0_i128, 1_i128);
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, t0 - q * t1);
    }
    (if t0 < 0 { t0 + modulus as i128 } else { t0 }) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_twelve_digits_unique_and_lead_back() {
        let world = World::new(&Config { accounts: 10_000, ..Config::default() });
        let ids: HashSet<String> = world.accounts().map(|a| world.id(a)).collect();
        assert_eq!(ids.len(), 10_000);
        for account in world.accounts() {
            let id = world.id(account);
            assert_eq!(id.len(), 12);
            assert_eq!(world.account(&id), Some(account));
        }
        assert_eq!(world.account("111122223333"), None);
        assert_eq!(world.account(HUB_ACCOUNT), None);
    }

    #[test]
    fn another_seed_is_another_world_and_the_same_seed_is_the_same() {
        let world = |seed| World::new(&Config { seed, ..Config::default() });
        assert_eq!(world(1).id(5), world(1).id(5));
        assert_ne!(world(1).id(5), world(2).id(5));
        assert_eq!(world(1).external_id(5, 0), world(1).external_id(5, 0));
        assert_ne!(world(1).external_id(5, 0), world(1).external_id(5, 1));
    }

    #[test]
    fn counts_follow_the_kind_of_world() {
        let key = ListKey { service: "lambda", operation: "ListFunctions", seed: "ListFunctions" };
        let uniform = WorldKind::Uniform { items: 7, regions: 2 };
        let world = World::new(&Config { world: uniform, holes: false, ..Config::default() });
        let total: usize = RegionId::of(u64::MAX).map(|r| world.count(0, r, key, &Spread::default())).sum();
        assert_eq!(total, 14);
    }

    #[test]
    fn mixed_accounts_are_log_normal_but_for_the_giants() {
        let items = [("lambda:ListFunctions".to_owned(), 1_000)].into();
        let sizes = Sizes { spread: 80, giants: 2, times: 10 };
        let kind = WorldKind::Mixed { items, regions: 1, sizes };
        let world = World::new(&Config { world: kind, accounts: 2_000, holes: false, ..Config::default() });
        let key = ListKey { service: "lambda", operation: "ListFunctions", seed: "ListFunctions" };
        let region = |account| RegionId::of(world.persona(account).enabled).next().expect("a region");
        let counts: Vec<usize> =
            world.accounts().map(|account| world.count(account, region(account), key, &Spread::default())).collect();
        assert_eq!(counts[..2], [10_000, 10_000]);
        let mut others: Vec<f64> = counts[2..].iter().map(|count| (*count as f64 / 1_000.0).ln()).collect();
        others.sort_by(f64::total_cmp);
        let mean = others.iter().sum::<f64>() / others.len() as f64;
        let deviation = (others.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / others.len() as f64).sqrt();
        assert!(mean.abs() < 0.06 && (deviation - 0.8).abs() < 0.06, "{mean} {deviation}");
        assert!(others.last().is_some_and(|largest| *largest <= 5.0_f64.ln() + 1e-3), "at most half a giant");
    }
}
