//! What XML does not say of itself: which elements of AWS's answers are lists, numbers, maps.

use super::Protocol;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// What XML does not say of itself: AWS's answers have no types. Keys are an element's name, or `parent/name` where
/// one name means several things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct XmlHints {
    /// Elements that are lists (their children are the elements, whatever those are called). Elements whose children
    /// are all called `member` or `item` are lists without being named here, but an empty one cannot tell.
    pub lists: Vec<String>,
    /// Elements that repeat in place, without a list around them (rest-xml's flattened lists).
    pub flat: Vec<String>,
    /// Elements that are maps: `entry` children with `key` and `value`.
    pub maps: Vec<String>,
    /// Elements that are whole numbers.
    pub integers: Vec<String>,
    /// Elements that are decimal numbers.
    pub floats: Vec<String>,
    /// Elements that are true or false.
    pub booleans: Vec<String>,
    /// Elements that are structures, and so objects even when empty.
    pub structures: Vec<String>,
    /// Elements whose API name differs from the element's own (with, for `ec2`, its first letter raised).
    pub rename: BTreeMap<String, String>,
}

/// What an element is, where it is not merely a text or a structure with children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlKind {
    /// A list; its children are the items.
    List,
    /// A map of `entry` children.
    Map,
    /// A whole number.
    Integer,
    /// A decimal number.
    Float,
    /// True or false.
    Boolean,
    /// An object, even when empty.
    Structure,
}

/// What the hints say of one element in one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XmlHint {
    /// What it is; `None` where its content tells.
    pub kind: Option<XmlKind>,
    /// It repeats in place.
    pub flat: bool,
    /// The API's name for it; `None`: its own.
    pub key: Option<String>,
}

/// Hints by element, so that one look-up answers all that is asked of it. An answer has thousands of elements and few
/// names; what is derived of a name is derived once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XmlIndex {
    names: HashMap<String, Named>,
    raise: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Named {
    anywhere: XmlHint,
    /// By the parent's name; whole hints, what holds anywhere included.
    within: Vec<(String, XmlHint)>,
}

static NOTHING: XmlHint = XmlHint { kind: None, flat: false, key: None };

impl XmlIndex {
    /// An index of hints.
    pub fn new(hints: &XmlHints, protocol: Protocol) -> Self {
        let mut index = Self { names: HashMap::new(), raise: protocol == Protocol::Ec2 };
        let kinds = [
            (&hints.lists, XmlKind::List),
            (&hints.maps, XmlKind::Map),
            (&hints.integers, XmlKind::Integer),
            (&hints.floats, XmlKind::Float),
            (&hints.booleans, XmlKind::Boolean),
            (&hints.structures, XmlKind::Structure),
        ];
        // What holds anywhere first: what holds within a parent begins as a copy of it.
        for qualified in [false, true] {
            for (names, kind) in kinds {
                for name in names.iter().filter(|name| name.contains('/') == qualified) {
                    index.entry(name).kind = Some(kind);
                }
            }
            for name in hints.flat.iter().filter(|name| name.contains('/') == qualified) {
                index.entry(name).flat = true;
            }
            for (name, key) in hints.rename.iter().filter(|(name, _)| name.contains('/') == qualified) {
                index.entry(name).key = Some(key.clone());
            }
        }
        index
    }

    fn entry(&mut self, name: &str) -> &mut XmlHint {
        let Some((parent, name)) = name.split_once('/') else {
            return &mut self.names.entry(name.to_owned()).or_default().anywhere;
        };
        let named = self.names.entry(name.to_owned()).or_default();
        let at = match named.within.iter().position(|(known, _)| known == parent) {
            Some(at) => at,
            None => {
                named.within.push((parent.to_owned(), named.anywhere.clone()));
                named.within.len() - 1
            }
        };
        &mut named.within[at].1
    }

    /// What is known of the element `name` in `parent`.
    pub fn hint(&self, parent: &str, name: &str) -> &XmlHint {
        match self.names.get(name) {
            None => &NOTHING,
            Some(named) => {
                named.within.iter().find(|(known, _)| known == parent).map_or(&named.anywhere, |(_, hint)| hint)
            }
        }
    }

    /// The API's name of an element: EC2's begin with a small letter on the wire.
    pub fn key(&self, hint: &XmlHint, name: &str) -> String {
        match &hint.key {
            Some(key) => key.clone(),
            None if self.raise => {
                let mut key = name.to_owned();
                if let Some(first) = key.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                key
            }
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_within_a_parent_goes_before_what_holds_anywhere() {
        let hints = XmlHints {
            lists: vec!["Set".into()],
            structures: vec!["Other/Set".into()],
            flat: vec!["Odd/Rule".into()],
            rename: [("Set".to_owned(), "Sets".to_owned()), ("set".to_owned(), "Few".to_owned())].into(),
            ..XmlHints::default()
        };
        let index = XmlIndex::new(&hints, Protocol::Query);
        assert_eq!(index.hint("Any", "Set").kind, Some(XmlKind::List));
        assert_eq!(index.hint("Other", "Set").kind, Some(XmlKind::Structure));
        assert_eq!(index.key(index.hint("Other", "Set"), "Set"), "Sets");
        assert!(index.hint("Odd", "Rule").flat && !index.hint("Any", "Rule").flat);
        assert_eq!(index.hint("Any", "Nothing"), &XmlHint::default());
        let ec2 = XmlIndex::new(&hints, Protocol::Ec2);
        assert_eq!(ec2.key(ec2.hint("a", "instanceId"), "instanceId"), "InstanceId");
        assert_eq!(ec2.key(ec2.hint("a", "set"), "set"), "Few");
    }
}
