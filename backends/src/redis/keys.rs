use fleetscan_proto::{AccountId, Cell, ScanAccountState, ScanId};

/// Names of keys. What stands in braces is the hash tag: keys with the same one lie together on a cluster.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// A scan's keys.
pub(super) struct ScanKeys(String);

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }
    pub(super) fn fleet(&self, what: &str) -> String {
        format!("{{{}:fleet}}:{what}", self.prefix)
    }
    pub(super) fn lease(&self, name: &str) -> String {
        self.fleet(&format!("lease:{name}"))
    }
    pub(super) fn bucket(&self, name: &str) -> String {
        self.fleet(&format!("bucket:{name}"))
    }
    pub(super) fn account(&self, account: &AccountId, what: &str) -> String {
        format!("{{{}:account:{account}}}:{what}", self.prefix)
    }
    pub(super) fn scan(&self, scan: &ScanId) -> ScanKeys {
        ScanKeys(format!("{{{}:scan:{scan}}}", self.prefix))
    }
}

impl ScanKeys {
    pub(super) fn of(&self, what: &str) -> String {
        format!("{}:{what}", self.0)
    }
    pub(super) fn row(&self) -> String {
        self.of("row")
    }
    pub(super) fn accounts(&self, state: ScanAccountState) -> String {
        self.of(match state {
            ScanAccountState::Waiting => "waiting",
            ScanAccountState::Probed => "probed",
            ScanAccountState::Planned => "planned",
        })
    }
    pub(super) fn details(&self) -> String {
        self.of("accounts")
    }
    pub(super) fn cells(&self, account: &AccountId) -> String {
        self.of(&format!("cells:{account}"))
    }
    pub(super) fn pending(&self) -> String {
        self.of("pending")
    }
    pub(super) fn counts(&self) -> String {
        self.of("counts")
    }
    pub(super) fn denials(&self) -> String {
        self.of("denials")
    }
    pub(super) fn hastened(&self) -> String {
        self.of("hastened")
    }
}

/// A cell within its account's hash.
pub(super) fn field(cell: &Cell) -> String {
    format!("{} {}", cell.region, cell.service)
}

/// A cell's place among a scan's pending ones: these sort as [`Cell`] does, for a space comes before whatever a name of
/// a region or service has.
pub(super) fn place(cell: &Cell) -> String {
    format!("{} {}", cell.account, field(cell))
}

/// The cell of a place.
pub(super) fn cell_at(place: &str) -> Option<Cell> {
    let mut parts = place.splitn(3, ' ');
    Some(Cell::new(parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_as_cells_do_and_lead_back() {
        let id = |text: &str| text.parse::<AccountId>().expect("id");
        let mut cells = vec![
            Cell::new(id("111122223333"), "us-gov-east-1", "sns"),
            Cell::new(id("111122223333"), "us", "sns"),
            Cell::new(id("111122223333"), "us-east-1", "s3control"),
            Cell::new(id("111122223333"), "us-east-1", "s3"),
            Cell::new(id("111122223333"), "us-east-10", "ecs"),
            Cell::new(id("011122223333"), "global", "iam"),
        ];
        let mut places: Vec<String> = cells.iter().map(place).collect();
        places.sort();
        cells.sort();
        assert_eq!(places.iter().filter_map(|place| cell_at(place)).collect::<Vec<_>>(), cells);
    }
}
