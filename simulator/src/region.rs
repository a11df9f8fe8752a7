//! The commercial regions, by number.

use fleetscan_proto::{DEFAULT_REGIONS, KNOWN_REGIONS, partition_of};
use std::sync::OnceLock;

/// A region by its place in [`all`]; [`RegionId::GLOBAL`] for global services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RegionId(pub(crate) u8);

impl RegionId {
    /// No region: global services.
    pub(crate) const GLOBAL: RegionId = RegionId(u8::MAX);
    /// How many regions every account has enabled: these come first.
    pub(crate) const DEFAULT: u8 = DEFAULT_REGIONS.len() as u8;

    /// The region of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == fleetscan_proto::GLOBAL {
            return Some(Self::GLOBAL);
        }
        all().iter().position(|region| *region == name).and_then(|at| u8::try_from(at).ok()).map(Self)
    }
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        all().get(usize::from(self.0)).copied().unwrap_or(fleetscan_proto::GLOBAL)
    }
    /// Whether accounts must opt in to it.
    pub(crate) fn is_opt_in(self) -> bool {
        self.0 >= Self::DEFAULT
    }
    /// Its bit in a set of regions.
    pub(crate) fn bit(self) -> u64 {
        1_u64.checked_shl(u32::from(self.0)).unwrap_or(0)
    }
    /// The regions of a set.
    pub(crate) fn of(set: u64) -> impl Iterator<Item = RegionId> {
        (0..all().len() as u8).map(RegionId).filter(move |region| set & region.bit() != 0)
    }
}

/// Every region of the commercial partition, the default ones first.
pub(crate) fn all() -> &'static [&'static str] {
    static ALL: OnceLock<Vec<&'static str>> = OnceLock::new();
    ALL.get_or_init(|| {
        let commercial = KNOWN_REGIONS.iter().filter(|region| partition_of(region).0 == "aws");
        DEFAULT_REGIONS.iter().chain(commercial.filter(|region| !DEFAULT_REGIONS.contains(region))).copied().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_numbers_and_bits_of_their_own() {
        assert!(all().len() <= 64);
        let every = (0..all().len() as u8).fold(0, |set, n| set | RegionId(n).bit());
        assert_eq!(RegionId::of(every).count(), all().len());
        assert_eq!(RegionId::parse("us-east-1"), Some(RegionId(0)));
        assert!(RegionId::parse("af-south-1").is_some_and(RegionId::is_opt_in));
        assert_eq!(RegionId::parse("cn-north-1"), None);
        assert_eq!(RegionId::GLOBAL.name(), "global");
        assert_eq!(RegionId::GLOBAL.bit(), 0);
    }
}
