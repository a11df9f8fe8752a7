use crate::{Bound, calls, shape::Shapes, sizes::Sizes};
use fleetscan_proto::{
    AccountId, DEFAULT_REGIONS, KNOWN_REGIONS,
    catalogue::{Catalogue, Operation, Service},
};
use std::{collections::HashMap, sync::Arc};

/// The first account's id; the others follow.
const FIRST_ACCOUNT: u64 = 100_000_000_000;

/// Where accounts live, the likelier ones more than once.
const HOMES: [&str; 10] = [
    "us-east-1",
    "us-east-1",
    "us-east-1",
    "us-west-2",
    "us-west-2",
    "eu-west-1",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-2",
    "ap-northeast-1",
];

/// An estate that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EstateError(String);

/// Accounts with what is in them. Nothing is stored: each figure is drawn anew from the seed whenever it is asked for,
/// and is always the same.
#[derive(Debug, Clone)]
pub struct Estate {
    pub(crate) accounts: u32,
    /// Numbers of the accounts that are scanned: all, or a slice of them.
    pub(crate) members: Vec<u32>,
    pub(crate) regions: Vec<String>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) shapes: Shapes,
    sizes: Sizes,
    seed: u64,
    /// By service and operation, what is called for each cell of it, and how its items are spread.
    tops: HashMap<String, HashMap<String, Top>>,
}

/// How a list without a parent is spread.
#[derive(Debug, Clone, Copy)]
struct Top {
    spread: crate::sizes::Spread,
    /// It has no pages, and so says one thing.
    one: bool,
    salt: u64,
}

impl Estate {
    /// `accounts` accounts with so many enabled regions, read by `catalogue` (a profile's part of it).
    pub fn new(
        accounts: u32,
        regions: usize,
        catalogue: Arc<Catalogue>,
        sizes: Sizes,
        seed: u64,
    ) -> Result<Self, EstateError> {
        let commercial = KNOWN_REGIONS.iter().filter(|r| fleetscan_proto::partition_of(r).0 == "aws");
        let more = commercial.filter(|region| !DEFAULT_REGIONS.contains(region));
        let known: Vec<String> = DEFAULT_REGIONS.iter().chain(more).map(|region| (*region).to_owned()).collect();
        if regions == 0 || regions > known.len() {
            return Err(EstateError(format!("{regions} regions: an account has 1 to {} enabled", known.len())));
        }
        if accounts == 0 || accounts > 1_000_000 {
            return Err(EstateError(format!("{accounts} accounts: there must be 1 to 1,000,000")));
        }
        let shapes = Shapes::of(&catalogue);
        let mut tops: HashMap<String, HashMap<String, Top>> = HashMap::new();
        for service in catalogue.services() {
            for operation in service.operations.iter().filter(|o| o.parent.is_none()) {
                let owner = operation.lender.as_deref().unwrap_or(&service.id);
                let name = format!("{owner}:{}", operation.name);
                let (spread, one) = match sizes.list(&name) {
                    Some(own) => (*own, false),
                    None => (sizes.others(), operation.paging.is_none()),
                };
                let top = Top { spread, one, salt: hash(name.as_bytes()) };
                tops.entry(owner.to_owned()).or_default().insert(operation.name.clone(), top);
            }
        }
        let regions = known.into_iter().take(regions).collect();
        let members = (0..accounts).collect();
        Ok(Self { accounts, members, regions, catalogue, shapes, sizes, seed, tops })
    }

    /// One account of every `parts`, so chosen that all sizes are in it as often as in the whole: the accounts are put in
    /// the order of their calls, and of each so many neighbours one is taken. The largest account is always among them,
    /// and the one whose slowest bucket takes longest.
    pub(crate) fn slice(&self, bound: &Bound, parts: usize) -> Estate {
        let mut by_calls = self.members.clone();
        by_calls.sort_by_key(|account| std::cmp::Reverse(bound.by_account[*account as usize]));
        let middle = |(n, part): (usize, &[u32])| part.get(if n == 0 { 0 } else { part.len() / 2 }).copied();
        let mut members: Vec<u32> = by_calls.chunks(parts.max(1)).enumerate().filter_map(middle).collect();
        let seconds = |account: &&u32| bound.seconds[**account as usize];
        members.extend(self.members.iter().max_by(|a, b| seconds(a).total_cmp(&seconds(b))));
        members.sort_unstable();
        members.dedup();
        Estate { members, ..self.clone() }
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> u32 {
        self.accounts
    }

    /// The regions that each account has enabled.
    pub fn regions(&self) -> &[String] {
        &self.regions
    }

    /// The id of an account, by number from 0.
    pub fn id(number: u32) -> Result<AccountId, EstateError> {
        let id = format!("{:012}", FIRST_ACCOUNT + u64::from(number));
        id.parse().map_err(|_| EstateError(format!("{id} is no account id")))
    }

    /// The number of an account.
    pub(crate) fn number(id: &AccountId) -> u32 {
        let number = id.as_str().parse::<u64>().unwrap_or_default().saturating_sub(FIRST_ACCOUNT);
        u32::try_from(number).unwrap_or_default()
    }

    /// Items of a list that has no parent, in one account and region.
    pub(crate) fn items(&self, account: u32, region: &str, service: &str, operation: &str, emit: usize) -> u64 {
        let Some(top) = self.tops.get(service).and_then(|all| all.get(operation)) else { return 0 };
        if top.one {
            return 1;
        }
        let spread = &top.spread;
        let dice = Dice::of([self.seed, u64::from(account), top.salt, emit as u64]);
        let region_part = self.region_part(account, region);
        if dice.part(0) < spread.unused || region_part == 0.0 {
            return u64::from(spread.everywhere);
        }
        let here = Dice::of([dice.0, hash(region.as_bytes())]);
        let number = spread.median * self.factor(account) * region_part * (spread.spread * here.normal()).exp();
        whole(number.min(f64::from(spread.most))) + u64::from(spread.everywhere)
    }

    /// Items in an answer about one item of another list.
    pub(crate) fn each(&self, service: &Service, operation: &Operation) -> u64 {
        let owner = operation.lender.as_deref().unwrap_or(&service.id);
        match self.sizes.child(&format!("{owner}:{}", operation.name)) {
            Some(each) => u64::from(each),
            None => u64::from(calls::goes_on(service, operation)),
        }
    }

    /// How much more than the median an account has of everything.
    fn factor(&self, account: u32) -> f64 {
        let dice = Dice::of([self.seed, u64::from(account), 1]);
        let giant = if dice.part(0) < self.sizes.accounts.giants { self.sizes.accounts.giant_factor } else { 1.0 };
        giant * self.sizes.accounts.factor * (self.sizes.accounts.spread * dice.normal()).exp()
    }

    /// The region where an account lives: one that it has enabled.
    pub(crate) fn home(&self, account: u32) -> &str {
        let dice = Dice::of([self.seed, u64::from(account), 2]);
        let home = HOMES[dice.below(HOMES.len())];
        match self.regions.iter().any(|region| region == home) {
            true => home,
            false => &self.regions[dice.below(self.regions.len())],
        }
    }

    fn region_part(&self, account: u32, region: &str) -> f64 {
        if region == self.home(account) {
            return 1.0;
        }
        let dice = Dice::of([self.seed, u64::from(account), 3, hash(region.as_bytes())]);
        let others = self.regions.len().saturating_sub(1).max(1);
        let is_busy = dice.part(0) < self.sizes.regions.busy as f64 / others as f64;
        if is_busy { self.sizes.regions.busy_part } else { 0.0 }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded and not negative")]
fn whole(number: f64) -> u64 {
    number.clamp(0.0, 1e9) as u64
}

/// FNV-1a.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Chance that is always the same for the same numbers (SplitMix64's mix).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of<const N: usize>(numbers: [u64; N]) -> Self {
        Self(numbers.into_iter().fold(0x9e37_79b9_7f4a_7c15, |state, number| mix(state ^ mix(number))))
    }
    /// Evenly, 0 to 1; another for each throw.
    pub(crate) fn part(self, throw: u64) -> f64 {
        (mix(self.0.wrapping_add(throw.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 11) as f64 / (1_u64 << 53) as f64
    }
    /// Normally distributed around 0 (Box and Muller's way), bounded at four standard deviations.
    fn normal(self) -> f64 {
        let radius = (-2.0 * self.part(11).max(1e-12).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.part(12)).cos()).clamp(-4.0, 4.0)
    }
    fn below(self, count: usize) -> usize {
        whole(self.part(13) * count as f64) as usize % count.max(1)
    }
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
