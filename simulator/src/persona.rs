//! What kind of account the account of a number is.

use crate::{
    config::{Config, WorldKind},
    dice::Dice,
    region::{RegionId, all},
};

/// How much an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Nearly empty.
    Small,
    /// A working account.
    Medium,
    /// Enough of something to keep a scan waiting on that account's limits.
    Giant,
}

/// What became, or will become, of the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It lets the hub in.
    Plain,
    /// Deleted when the first call that is not the probe's comes in: in mid-scan, with nothing read.
    RevokedMidScan,
    /// The ExternalId of the accounts file is not the role's, and never was.
    NeverFitted,
}

/// An account's character, which never changes; what a test or an operator changes is in [`crate::live`].
#[derive(Debug, Clone)]
pub(crate) struct Persona {
    pub(crate) size: Size,
    pub(crate) fate: Fate,
    /// Enabled regions, as a set.
    pub(crate) enabled: u64,
    /// Where it mostly works.
    pub(crate) home: RegionId,
    /// Actions (or `service:*`) that the role's policy lacks.
    pub(crate) detached: &'static [&'static str],
    /// Services that an SCP of its organisation forbids.
    pub(crate) scp: &'static [&'static str],
}

/// What a block of a hundred accounts is made of. The first ten hold one of each kind, so that a small world has its
/// holes as well. Revoked accounts stop after four: five at once would look like a broken hub, and rightly so.
const BLOCK: u64 = 100;
const GIANTS: [u64; 3] = [2, 41, 77];
const MEDIUM: [u64; 18] = [0, 4, 11, 14, 19, 23, 28, 32, 38, 45, 50, 54, 60, 67, 73, 81, 88, 95];
const OPT_IN: [u64; 6] = [3, 19, 34, 41, 60, 92];
const REVOKED: [u64; 3] = [6, 36, 66];
const MOST_REVOKED: usize = 4;
const NEVER_FITTED: [u64; 2] = [8, 58];
const DETACHED: [(u64, &[&str]); 6] = [
    (4, &["lambda:GetPolicy", "dynamodb:ListTagsOfResource", "s3:GetBucketPolicy"]),
    (9, &["account:ListRegions"]),
    (25, &["secretsmanager:*"]),
    (47, &["account:ListRegions", "ec2:DescribeRegions"]),
    (63, &["ecs:*", "sns:GetTopicAttributes", "ec2:DescribeSnapshots"]),
    (81, &["lambda:ListFunctions", "ssm:*"]),
];
const SCP: [(u64, &[&str]); 3] = [(7, &["secretsmanager"]), (52, &["dynamodb", "ecs"]), (86, &["lambda"])];

/// Where accounts mostly work.
const HOMES: [&str; 6] = ["us-east-1", "eu-west-1", "us-east-1", "eu-central-1", "us-west-2", "ap-southeast-2"];

impl Persona {
    pub(crate) fn of(config: &Config, index: usize) -> Self {
        let dice = Dice::new(config.seed).text("persona").number(index as u64);
        let place = index as u64 % BLOCK;
        let demo = config.world == WorldKind::Demo;
        let size = match config.world {
            WorldKind::Giants => Size::Giant,
            WorldKind::Demo if GIANTS.contains(&place) => Size::Giant,
            WorldKind::Demo if MEDIUM.contains(&place) => Size::Medium,
            _ => Size::Small,
        };
        let fate = match place {
            _ if !config.holes => Fate::Plain,
            p if REVOKED.contains(&p) && revoked_before(index) < MOST_REVOKED => Fate::RevokedMidScan,
            p if NEVER_FITTED.contains(&p) => Fate::NeverFitted,
            _ => Fate::Plain,
        };
        let of = |list: &[(u64, &'static [&'static str])]| {
            list.iter().find(|(p, _)| config.holes && *p == place).map_or(&[][..], |(_, what)| *what)
        };
        let opt_in = demo && OPT_IN.contains(&place) && fate == Fate::Plain;
        Self { size, fate, enabled: enabled(dice, opt_in), home: home(dice), detached: of(&DETACHED), scp: of(&SCP) }
    }

    /// Whether a region is enabled; global services always are.
    pub(crate) fn has_region(&self, region: RegionId) -> bool {
        region == RegionId::GLOBAL || self.enabled & region.bit() != 0
    }
}

fn revoked_before(index: usize) -> usize {
    let block = BLOCK as usize;
    (index / block) * REVOKED.len() + REVOKED.iter().filter(|p| (**p as usize) < index % block).count()
}

fn enabled(dice: Dice, opt_in: bool) -> u64 {
    let default = (1_u64 << RegionId::DEFAULT) - 1;
    if !opt_in {
        return default;
    }
    let choices = all().len() as u64 - u64::from(RegionId::DEFAULT);
    let count = dice.text("opt-in").between(1, 4);
    (0..count).fold(default, |set, n| {
        let choice = dice.text("opt-in").number(n).below(choices) as u8;
        set | RegionId(RegionId::DEFAULT + choice).bit()
    })
}

fn home(dice: Dice) -> RegionId {
    let name = HOMES[dice.text("home").below(HOMES.len() as u64) as usize];
    RegionId::parse(name).unwrap_or(RegionId(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn personas(config: &Config) -> Vec<Persona> {
        (0..config.accounts).map(|n| Persona::of(config, n)).collect()
    }

    #[test]
    fn a_hundred_accounts_are_a_believable_spread_and_a_thousand_do_not_look_like_a_broken_hub() {
        let config = Config::default();
        let hundred = personas(&config);
        let count = |all: &[Persona], what: &dyn Fn(&Persona) -> bool| all.iter().filter(|p| what(p)).count();
        assert_eq!(count(&hundred, &|p| p.size == Size::Giant), 3);
        assert_eq!(count(&hundred, &|p| p.fate == Fate::RevokedMidScan), 3);
        assert_eq!(count(&hundred, &|p| p.fate == Fate::NeverFitted), 2);
        assert_eq!(count(&hundred, &|p| RegionId::of(p.enabled).any(RegionId::is_opt_in)), 6);
        let thousand = personas(&Config { accounts: 1_000, ..config.clone() });
        assert_eq!(count(&thousand, &|p| p.fate == Fate::RevokedMidScan), MOST_REVOKED);
        let whole = personas(&Config { holes: false, ..config });
        assert_eq!(count(&whole, &|p| p.fate != Fate::Plain || !p.detached.is_empty() || !p.scp.is_empty()), 0);
    }

    #[test]
    fn a_revoked_account_has_the_regions_that_every_account_has() {
        // So that its cells are the same whether its probe came through or not.
        for persona in personas(&Config { accounts: 300, ..Config::default() }) {
            if persona.fate != Fate::Plain {
                assert!(!RegionId::of(persona.enabled).any(RegionId::is_opt_in));
            }
        }
    }
}
