//! An answer taken apart for paging: its lists, and what is around them.

use serde_json::{Map, Value};

/// From so many items on, a list is kept as text: as values it would take several times the memory.
const LONG: usize = 5_000;

/// The lists that an operation pages through, and the rest of its answer.
#[derive(Debug)]
pub(crate) struct Lists {
    /// The answer, its paged lists empty.
    rest: Value,
    lists: Vec<List>,
}

#[derive(Debug)]
enum List {
    Values(Vec<Value>),
    /// Items as JSON, one behind the other, and where each ends.
    Written {
        text: String,
        ends: Vec<usize>,
    },
}

impl Lists {
    /// Takes an answer apart at `paths`.
    pub(crate) fn of(mut value: Value, paths: &[Vec<String>]) -> Self {
        let lists = paths.iter().map(|path| List::of(take(&mut value, path))).collect();
        Self { rest: value, lists }
    }

    /// Whether a page's making would be felt, were the answer taken apart anew for each.
    pub(crate) fn is_long(&self) -> bool {
        self.lists.iter().any(|list| matches!(list, List::Written { .. }))
    }

    /// Items, of all lists together.
    pub(crate) fn len(&self) -> usize {
        self.lists.iter().map(List::len).sum()
    }

    /// An item, counted through all lists.
    pub(crate) fn item(&self, mut at: usize) -> Option<Value> {
        for list in &self.lists {
            if at < list.len() {
                return Some(list.item(at));
            }
            at -= list.len();
        }
        None
    }

    /// The first item, counted through all lists, of which this holds.
    pub(crate) fn position(&self, holds: impl Fn(&Value) -> bool) -> Option<usize> {
        (0..self.len()).find(|&at| self.item(at).is_some_and(|item| holds(&item)))
    }

    /// The answer around the lists, and of each list the items from `start` to before `end`, counted through all lists.
    pub(crate) fn between(&self, start: usize, end: usize) -> (Value, Vec<Vec<Value>>) {
        let mut before = 0;
        let mut items = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            let from = start.saturating_sub(before).min(list.len());
            let to = end.saturating_sub(before).min(list.len());
            items.push((from..to).map(|at| list.item(at)).collect());
            before += list.len();
        }
        (self.rest.clone(), items)
    }
}

impl List {
    fn of(items: Vec<Value>) -> Self {
        if items.len() < LONG {
            return Self::Values(items);
        }
        let mut text = String::new();
        let mut ends = Vec::with_capacity(items.len());
        for item in items {
            text.push_str(&item.to_string());
            ends.push(text.len());
        }
        Self::Written { text, ends }
    }

    fn len(&self) -> usize {
        match self {
            Self::Values(items) => items.len(),
            Self::Written { ends, .. } => ends.len(),
        }
    }

    fn item(&self, at: usize) -> Value {
        match self {
            Self::Values(items) => items[at].clone(),
            Self::Written { text, ends } => {
                let start = at.checked_sub(1).map_or(0, |before| ends[before]);
                serde_json::from_str(&text[start..ends[at]]).unwrap_or_default()
            }
        }
    }
}

/// Takes the list where keys lead, and leaves an empty one; nothing where there is none.
fn take(value: &mut Value, path: &[String]) -> Vec<Value> {
    let Some((last, above)) = path.split_last() else { return Vec::new() };
    let above: Option<&mut Map<String, Value>> =
        above.iter().try_fold(&mut *value, |value, key| value.get_mut(key)).and_then(Value::as_object_mut);
    match above.and_then(|map| map.get_mut(last)).and_then(Value::as_array_mut) {
        Some(items) => std::mem::take(items),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lists(items: usize) -> Lists {
        let value = json!({"A": (0..items).collect::<Vec<_>>(), "B": {"C": ["x", "y"]}, "D": 1});
        Lists::of(value, &[vec!["A".into()], vec!["B".into(), "C".into()], vec!["E".into()]])
    }

    #[test]
    fn long_and_short_lists_answer_alike() {
        for items in [3, LONG + 3] {
            let lists = lists(items);
            assert_eq!(lists.is_long(), items > LONG);
            assert_eq!(lists.len(), items + 2);
            assert_eq!(lists.item(0), Some(json!(0)));
            assert_eq!(lists.item(items), Some(json!("x")));
            assert_eq!(lists.item(items + 2), None);
            assert_eq!(lists.position(|item| item == "y"), Some(items + 1));
            let (rest, found) = lists.between(items - 1, items + 1);
            assert_eq!(rest, json!({"A": [], "B": {"C": []}, "D": 1}));
            assert_eq!(found, [vec![json!(items - 1)], vec![json!("x")], vec![]]);
        }
    }
}
