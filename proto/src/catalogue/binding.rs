use super::{FieldPath, PathError, Template};
use serde_json::{Map, Value};

/// Where a parameter of a child operation, or a member that is added to an item, comes from: `FunctionName` (a field of
/// the item that it is called for), `.` (that item itself, where it is a text), `^Field` (the item above it; `^^Field`
/// the one above that), `^*Id` (a list of that field of all items above, the outermost first), a text with fields and
/// variables in braces (see [`Template`]), `$account`, `$region`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// A field of an ancestor's item: 0 is the parent's item, 1 its parent's, and so on.
    Item {
        /// How many generations up.
        up: usize,
        /// Where in that item.
        path: FieldPath,
    },
    /// The field of every item above that has it, the outermost first.
    Trail(FieldPath),
    /// A text put together from the parent's item.
    Text(Template),
    /// The account's twelve digits.
    Account,
    /// The cell's region; for a global service, its home region.
    Region,
}

impl Binding {
    /// Reads a binding.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        match text {
            "$account" => Ok(Binding::Account),
            "$region" => Ok(Binding::Region),
            _ if text.contains('{') => Ok(Binding::Text(Template::parse(text)?)),
            _ => {
                if let Some(path) = text.strip_prefix("^*") {
                    return Ok(Binding::Trail(FieldPath::parse(path)?));
                }
                let rest = text.trim_start_matches('^');
                let path = FieldPath::parse(if rest.is_empty() { "." } else { rest })?;
                Ok(Binding::Item { up: text.len() - rest.len(), path })
            }
        }
    }

    /// Whether the value depends on the item that is asked about.
    pub fn is_of_item(&self) -> bool {
        !matches!(self, Binding::Account | Binding::Region)
    }

    /// The value; `None` where an item lacks it. `item` answers the item so many generations up, the parent's own being
    /// 0; `variables` what [`Template::fill`] asks for.
    pub fn value<'v>(
        &self,
        item: &dyn Fn(usize) -> Option<&'v Value>,
        variables: &dyn Fn(&str) -> String,
    ) -> Option<Value> {
        match self {
            Binding::Item { up, path } => path.get(item(*up)?).cloned(),
            Binding::Text(template) => template.fill(item(0)?, variables).map(Value::from),
            Binding::Trail(path) => {
                let above = (1..).map_while(item);
                let mut trail: Vec<Value> = above.filter_map(|item| path.get(item).cloned()).collect();
                trail.reverse();
                Some(Value::from(trail))
            }
            Binding::Account => Some(Value::from(variables("account"))),
            Binding::Region => Some(Value::from(variables("region"))),
        }
    }
}

/// Puts a parameter where its name says: `Name`, `Outer.Inner` (a member of an object), `Names[]` (a list of one).
pub fn place(params: &mut Map<String, Value>, name: &str, value: Value) {
    if let Some((outer, inner)) = name.split_once('.') {
        let object = params.entry(outer.to_owned()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(object) = object {
            place(object, inner, value);
        }
    } else if let Some(list) = name.strip_suffix("[]") {
        params.insert(list.to_owned(), Value::Array(vec![value]));
    } else {
        params.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_come_from_items_above_and_go_where_their_names_say() {
        let chain = [json!({"Id": "ou-2", "Arn": "/of/a"}), json!({"Id": "ou-1"}), json!("text"), json!({"Id": "r-0"})];
        let value = |text: &str| {
            let binding = Binding::parse(text).expect("a binding");
            binding.value(&|up| chain.get(up), &|name| name.to_uppercase())
        };
        assert_eq!(value("Id"), Some(json!("ou-2")));
        assert_eq!(value("^Id"), Some(json!("ou-1")));
        assert_eq!(value("^^"), Some(json!("text")));
        assert_eq!(value("^*Id"), Some(json!(["r-0", "ou-1"])));
        assert_eq!(value("arn:{$account}/{Id}"), Some(json!("arn:ACCOUNT/ou-2")));
        assert_eq!(value("zone {Arn/}"), Some(json!("zone a")));
        assert_eq!(value("$region"), Some(json!("REGION")));
        assert_eq!(value("Missing"), None);
        let mut params = Map::new();
        for (name, value) in [("Plain", "a"), ("Outer.Inner", "b"), ("Names[]", "c")] {
            place(&mut params, name, json!(value));
        }
        assert_eq!(Value::Object(params), json!({"Plain": "a", "Outer": {"Inner": "b"}, "Names": ["c"]}));
    }
}
