use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// How much there is in accounts: distributions, in TOML. Unknown fields are errors that name themselves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Lists, children and others are those of this one of fleetscan's own sizes, but for what stands here.
    #[serde(default)]
    extends: Option<String>,
    /// How accounts differ.
    pub(crate) accounts: Accounts,
    /// How an account's regions differ.
    pub(crate) regions: Regions,
    /// What a list without an entry of its own has.
    #[serde(default)]
    others: Option<Spread>,
    #[serde(default, rename = "list")]
    lists: Vec<List>,
    #[serde(default, rename = "child")]
    children: Vec<Child>,
    #[serde(skip)]
    by_list: HashMap<String, Spread>,
    #[serde(skip)]
    by_child: HashMap<String, u32>,
}

/// Each account has a factor of its own, log-normal around 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accounts {
    /// What every number is multiplied by.
    #[serde(default = "one")]
    pub(crate) factor: f64,
    /// Standard deviation of the logarithm of an account's own factor.
    pub(crate) spread: f64,
    /// The part of all accounts that are giants.
    pub(crate) giants: f64,
    /// How many times more a giant has.
    pub(crate) giant_factor: f64,
}

/// An account lives in one region, and has something in a few more.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Regions {
    /// Regions with something in them, beside the one where the account lives.
    pub(crate) busy: usize,
    /// What those have, as a part of what there is where the account lives.
    pub(crate) busy_part: f64,
}

/// How many items a list has in the region where an account lives: log-normal.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spread {
    /// Half of the accounts that use it have fewer.
    pub(crate) median: f64,
    /// Standard deviation of the number's logarithm, beside that of the account's own factor.
    #[serde(default)]
    pub(crate) spread: f64,
    /// The part of all accounts that do not use it.
    #[serde(default)]
    pub(crate) unused: f64,
    /// What every region has, used or not: default VPCs, service-linked roles.
    #[serde(default)]
    pub(crate) everywhere: u32,
    /// AWS's quota, or what can be believed.
    #[serde(default = "no_quota")]
    pub(crate) most: u32,
}

fn one() -> f64 {
    1.0
}

fn no_quota() -> u32 {
    1_000_000
}

/// A [`Spread`] of one list. (Serde cannot refuse unknown fields of a struct within another's.)
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// `service:Operation`.
    of: String,
    median: f64,
    #[serde(default)]
    spread: f64,
    #[serde(default)]
    unused: f64,
    #[serde(default)]
    everywhere: u32,
    #[serde(default = "no_quota")]
    most: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Child {
    /// `service:Operation`, called for each item of another.
    of: String,
    /// Items in its answer.
    each: u32,
}

/// What is wrong with a file of sizes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sizes {file}: {problem}")]
pub struct SizesError {
    /// Which file.
    pub file: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

const BUILT_IN: [(&str, &str); 3] = [
    ("small", include_str!("../sizes/small.toml")),
    ("typical", include_str!("../sizes/typical.toml")),
    ("large", include_str!("../sizes/large.toml")),
];

impl Sizes {
    /// Names of the sizes that this build has.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// One of them.
    ///
    /// # Panics
    /// If a built-in file is wrong, which a test rules out.
    pub fn built_in(name: &str) -> Option<Sizes> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Sizes::parse(name, text).unwrap_or_else(|error| panic!("built-in {error}")))
    }

    /// Reads a file of sizes; `file` is what mistakes are told of.
    pub fn parse(file: &str, text: &str) -> Result<Sizes, SizesError> {
        let wrong = |problem: String| SizesError { file: file.to_owned(), problem };
        let mut sizes: Sizes = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for (name, value) in [("giants", sizes.accounts.giants), ("busy_part", sizes.regions.busy_part)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(wrong(format!("`{name}` is {value}: it is a part, 0 to 1")));
            }
        }
        if !(0.0..=1e4).contains(&sizes.accounts.factor) || !(0.0..=4.0).contains(&sizes.accounts.spread) {
            return Err(wrong("[accounts]: `factor` is 0 to 10,000, and `spread` 0 to 4".into()));
        }
        if let Some(base) = sizes.extends.take() {
            let base = BUILT_IN.iter().find(|(name, _)| *name == base && *name != file).ok_or_else(|| {
                let names: Vec<&str> = Sizes::names().collect();
                wrong(format!("`extends` is {base:?}: there are {}", names.join(", ")))
            })?;
            let Sizes { others, by_list, by_child, .. } = Sizes::parse(base.0, base.1)?;
            (sizes.by_list, sizes.by_child) = (by_list, by_child);
            sizes.others = sizes.others.or(others);
        }
        match &sizes.others {
            Some(others) => sane(others).map_err(|problem| wrong(format!("[others]: {problem}")))?,
            None => return Err(wrong("it has no [others], and `extends` names none of fleetscan's own".into())),
        }
        let mut own = HashSet::new();
        for List { of, median, spread, unused, everywhere, most } in std::mem::take(&mut sizes.lists) {
            let spread = Spread { median, spread, unused, everywhere, most };
            sane(&spread).map_err(|problem| wrong(format!("[[list]] of {of}: {problem}")))?;
            if !own.insert(of.clone()) {
                return Err(wrong(format!("[[list]] of {of} stands twice")));
            }
            sizes.by_list.insert(of, spread);
        }
        for Child { of, each } in std::mem::take(&mut sizes.children) {
            if each > 100 {
                return Err(wrong(format!("[[child]] of {of}: {each} items for each item; 100 at most")));
            }
            sizes.by_child.insert(of, each);
        }
        Ok(sizes)
    }

    /// Every operation that the file names.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.by_list.keys().chain(self.by_child.keys()).map(String::as_str)
    }

    /// A list by `service:Operation`, and what one that is not named has.
    pub(crate) fn list(&self, name: &str) -> Option<&Spread> {
        self.by_list.get(name)
    }

    pub(crate) fn others(&self) -> Spread {
        self.others.unwrap_or(Spread { median: 0.0, spread: 0.0, unused: 1.0, everywhere: 0, most: 0 })
    }

    pub(crate) fn child(&self, name: &str) -> Option<u32> {
        self.by_child.get(name).copied()
    }
}

fn sane(spread: &Spread) -> Result<(), String> {
    if !(0.0..=1e6).contains(&spread.median) || !(0.0..=4.0).contains(&spread.spread) {
        return Err("`median` is 0 to 1,000,000, and `spread` 0 to 4".into());
    }
    if !(0.0..=1.0).contains(&spread.unused) {
        return Err(format!("`unused` is {}: it is a part, 0 to 1", spread.unused));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Catalogue;

    #[test]
    fn built_in_sizes_name_operations_of_the_catalogue_only() {
        for name in Sizes::names() {
            let sizes = Sizes::built_in(name).expect("there");
            for of in sizes.named() {
                let (service, operation) = of.split_once(':').expect("service:Operation");
                assert!(Catalogue::built_in().operation(service, operation).is_some(), "{name}: {of}");
            }
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let base = "[accounts]\nspread = 1\ngiants = 0\ngiant_factor = 1\n[regions]\nbusy = 1\nbusy_part = 0.5\n";
        for (text, word) in [
            ("[others]\nmedian = -1", "median"),
            ("[others]\nmedian = 1\nunused = 2", "unused"),
            ("[others]\nmedian = 1\nmedain = 1", "medain"),
            ("[others]\nmedian = 1\n[[child]]\nof = \"a:B\"\neach = 999", "a:B"),
        ] {
            let error = Sizes::parse("x.toml", &format!("{base}{text}")).expect_err("refused").to_string();
            assert!(error.contains(word) && error.contains("x.toml"), "{error}");
        }
    }
}
