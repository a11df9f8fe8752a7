use crate::Tls;
use fleetscan_proto::catalogue::Catalogue;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Everything follows from it: account ids, resources, holes, jitter.
    pub seed: u64,
    /// How many customer accounts there are.
    pub accounts: usize,
    /// Mean latency of an answer; zero for none.
    pub latency: Duration,
    /// Token buckets.
    pub limits: Limits,
    /// What is in the accounts.
    pub world: WorldKind,
    /// Whether some accounts are revoked, never let anybody in, or deny a part of what is asked. Without it every
    /// cell of every account can be read.
    pub holes: bool,
    /// Whether signatures are computed and compared; the form of a signature and its scope are always checked.
    pub verify_signatures: bool,
    /// How far `X-Amz-Date` may be from now (AWS: 15 minutes for most services); `None`: not checked.
    pub clock_skew: Option<Duration>,
    /// TLS; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// The services to speak for.
    pub catalogue: Arc<Catalogue>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            accounts: 100,
            latency: Duration::ZERO,
            limits: Limits::Published,
            world: WorldKind::Demo,
            holes: true,
            verify_signatures: true,
            clock_skew: Some(Duration::from_secs(900)),
            tls: None,
            catalogue: Arc::new(Catalogue::built_in().clone()),
        }
    }
}

/// How fast the simulated AWS lets itself be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limits {
    /// As the catalogue's files say; where AWS publishes nothing, a hidden rate of two to four times `start`.
    Published,
    /// The same, rates and bursts multiplied.
    Scaled(f64),
    /// None.
    Off,
}

/// What is in the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorldKind {
    /// A believable spread: most accounts nearly empty, some in the middle, a few giants.
    Demo,
    /// Every account is one of the demo's giants.
    Giants,
    /// So many items in each list of each service, in the first so many enabled regions (and in global services).
    Uniform {
        /// Items in each list.
        items: usize,
        /// Regions that have them.
        regions: usize,
    },
    /// So many items in the lists that are named (`lambda:ListFunctions`), none in others, in the first so many
    /// enabled regions (and in global services).
    Counts {
        /// Items by service id and operation.
        items: BTreeMap<String, usize>,
        /// Regions that have them.
        regions: usize,
    },
    /// The same, in accounts of unlike sizes: each count is multiplied by its account's own factor.
    Mixed {
        /// Items by service id and operation, of an account in the middle.
        items: BTreeMap<String, usize>,
        /// Regions that have them.
        regions: usize,
        /// How unlike the accounts are.
        sizes: Sizes,
    },
    /// Nothing anywhere.
    Empty,
}

/// Log-normal sizes of accounts, and some giants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Standard deviation of the factor's natural logarithm, in hundredths.
    pub spread: u32,
    /// So many accounts, the first ones, are giants.
    pub giants: usize,
    /// A giant's factor. Others have at most half of it.
    pub times: u32,
}
