use fleetscan_proto::catalogue::{Protocol, XmlHints};
use quick_xml::{Reader, events::Event};
use serde_json::{Map, Number, Value};
use std::collections::{HashMap, HashSet};

/// An answer that is not the XML it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed XML: {0}")]
pub struct XmlError(String);

/// How deep an answer may nest; AWS's deepest is about a dozen.
const MAX_DEPTH: usize = 64;

/// An element with its text and its children, namespaces dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: String,
    /// Text directly inside, references resolved.
    pub text: String,
    /// Child elements, in order.
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }
    /// The first element of that name, at any depth, this one included.
    pub fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|c| c.find(name)) }
    }
}

/// Reads a document into its root element.
pub fn parse_xml(bytes: &[u8]) -> Result<Element, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError("not UTF-8".into()))?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().map_err(|e| XmlError(e.to_string()))? {
            Event::Start(start) => {
                if open.len() >= MAX_DEPTH {
                    return Err(XmlError("nested too deep".into()));
                }
                open.push(element(&start)?);
            }
            Event::Empty(start) => {
                let element = element(&start)?;
                close(&mut open, &mut root, element);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| XmlError("an end without a start".into()))?;
                close(&mut open, &mut root, element);
            }
            Event::Text(piece) => {
                if let Some(top) = open.last_mut() {
                    top.text.push_str(&piece);
                }
            }
            Event::CData(piece) => {
                if let Some(top) = open.last_mut() {
                    top.text.push_str(&piece);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(top) = open.last_mut() {
                    let name = reference.to_string();
                    match reference.resolve_char_ref().map_err(|e| XmlError(e.to_string()))? {
                        Some(c) => top.text.push(c),
                        None => top.text.push_str(quick_xml::escape::resolve_xml_entity(&name).unwrap_or_default()),
                    }
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !open.is_empty() {
        return Err(XmlError("the document ends early".into()));
    }
    root.ok_or_else(|| XmlError("no element".into()))
}

fn element(start: &quick_xml::events::BytesStart<'_>) -> Result<Element, XmlError> {
    let local = |name: &str| name.rsplit(':').next().unwrap_or(name).to_owned();
    let mut element = Element { name: local(start.name().as_ref()), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|e| XmlError(e.to_string()))?;
        // The one attribute that AWS uses as data: the type of an S3 grantee.
        if attribute.key.as_ref() == "xsi:type" {
            element.children.push(Element {
                name: "Type".into(),
                text: attribute.value.to_string(),
                children: Vec::new(),
            });
        }
    }
    Ok(element)
}

fn close(open: &mut [Element], root: &mut Option<Element>, element: Element) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// Hints, ready to be asked.
#[derive(Debug)]
pub(crate) struct Hints<'h> {
    kinds: HashMap<&'h str, Kind>,
    rename: HashMap<&'h str, &'h str>,
    flat: HashSet<&'h str>,
    raise: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    List,
    Map,
    Integer,
    Float,
    Boolean,
    Structure,
}

impl<'h> Hints<'h> {
    pub(crate) fn new(hints: &'h XmlHints, protocol: Protocol) -> Self {
        let mut kinds = HashMap::new();
        for (names, kind) in [
            (&hints.lists, Kind::List),
            (&hints.maps, Kind::Map),
            (&hints.integers, Kind::Integer),
            (&hints.floats, Kind::Float),
            (&hints.booleans, Kind::Boolean),
            (&hints.structures, Kind::Structure),
        ] {
            kinds.extend(names.iter().map(|name| (name.as_str(), kind)));
        }
        Self {
            kinds,
            rename: hints.rename.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect(),
            flat: hints.flat.iter().map(String::as_str).collect(),
            raise: protocol == Protocol::Ec2,
        }
    }
    fn kind(&self, parent: &str, name: &str) -> Option<Kind> {
        self.kinds.get(qualified(parent, name).as_str()).or_else(|| self.kinds.get(name)).copied()
    }
    fn is_flat(&self, parent: &str, name: &str) -> bool {
        !self.flat.is_empty() && (self.flat.contains(qualified(parent, name).as_str()) || self.flat.contains(name))
    }
    fn key(&self, parent: &str, name: &str) -> String {
        if let Some(renamed) = self.rename.get(qualified(parent, name).as_str()).or_else(|| self.rename.get(name)) {
            return (*renamed).to_owned();
        }
        if self.raise {
            let mut letters = name.chars();
            return letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect();
        }
        name.to_owned()
    }
}

fn qualified(parent: &str, name: &str) -> String {
    let mut text = String::with_capacity(parent.len() + name.len() + 1);
    text.push_str(parent);
    text.push('/');
    text.push_str(name);
    text
}

/// An element's children as an object, with the API's names and types as far as the hints tell.
pub fn to_value(element: &Element, hints: &XmlHints, protocol: Protocol) -> Value {
    object(element, &element.name, &Hints::new(hints, protocol))
}

/// `parent` names the element that hints are asked about: for an item of a list, that is the list.
pub(crate) fn object(element: &Element, parent: &str, hints: &Hints<'_>) -> Value {
    let mut map = Map::new();
    for child in &element.children {
        let key = hints.key(parent, &child.name);
        if hints.is_flat(parent, &child.name) {
            let item = value(child, parent, hints);
            match map.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(list) => list.push(item),
                other => *other = Value::Array(vec![item]),
            }
        } else {
            map.insert(key, value(child, parent, hints));
        }
    }
    Value::Object(map)
}

fn value(element: &Element, parent: &str, hints: &Hints<'_>) -> Value {
    let kind = hints.kind(parent, &element.name);
    let wrapped =
        || !element.children.is_empty() && element.children.iter().all(|c| c.name == "member" || c.name == "item");
    match kind {
        Some(Kind::Map) => map_of(element, hints),
        Some(Kind::Structure) => object(element, &element.name, hints),
        Some(Kind::Integer) => number(&element.text, |t| t.parse::<i64>().ok().map(Number::from)),
        Some(Kind::Float) => number(&element.text, |t| t.parse().ok().and_then(Number::from_f64)),
        Some(Kind::Boolean) => match element.text.trim() {
            "true" | "True" | "1" => Value::Bool(true),
            "false" | "False" | "0" => Value::Bool(false),
            other => Value::from(other),
        },
        Some(Kind::List) => list(element, hints),
        None if wrapped() => list(element, hints),
        None if !element.children.is_empty() => object(element, &element.name, hints),
        None => Value::from(element.text.as_str()),
    }
}

fn list(element: &Element, hints: &Hints<'_>) -> Value {
    element.children.iter().map(|item| list_item(item, &element.name, hints)).collect()
}

fn list_item(item: &Element, list: &str, hints: &Hints<'_>) -> Value {
    match item.children.is_empty() {
        true => value(item, list, hints),
        false if item.children.iter().all(|c| c.name == "member" || c.name == "item") => {
            item.children.iter().map(|inner| list_item(inner, &item.name, hints)).collect()
        }
        false => object(item, list, hints),
    }
}

fn map_of(element: &Element, hints: &Hints<'_>) -> Value {
    let mut map = Map::new();
    for entry in &element.children {
        if let (Some(key), Some(content)) = (entry.child("key"), entry.child("value")) {
            map.insert(key.text.clone(), value(content, &element.name, hints));
        }
    }
    Value::Object(map)
}

fn number(text: &str, parse: impl Fn(&str) -> Option<Number>) -> Value {
    parse(text.trim()).map_or_else(|| Value::from(text), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ec2_answers_get_the_apis_names_and_types() {
        let xml = br#"<?xml version="1.0"?><DescribeInstancesResponse xmlns="x"><requestId>r</requestId><reservationSet>
            <item><groupSet/><instancesSet><item><instanceId>i-1</instanceId><amiLaunchIndex>0</amiLaunchIndex>
            <ebsOptimized>false</ebsOptimized><reason>a &amp; b &#65;</reason></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"#;
        let hints = XmlHints {
            lists: vec!["groupSet".into()],
            integers: vec!["amiLaunchIndex".into()],
            booleans: vec!["ebsOptimized".into()],
            rename: [("reservationSet", "Reservations"), ("instancesSet", "Instances"), ("groupSet", "Groups")]
                .into_iter()
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect(),
            ..XmlHints::default()
        };
        let mut value = to_value(&parse_xml(xml).expect("xml"), &hints, Protocol::Ec2);
        value.as_object_mut().expect("object").shift_remove("RequestId");
        assert_eq!(
            value,
            json!({"Reservations": [{"Groups": [], "Instances": [
            {"InstanceId": "i-1", "AmiLaunchIndex": 0, "EbsOptimized": false, "Reason": "a & b A"}]}]})
        );
    }

    #[test]
    fn query_maps_and_flat_lists_are_told_apart() {
        let hints = XmlHints {
            maps: vec!["Attributes".into()],
            flat: vec!["Rule".into()],
            rename: [("Rule".to_owned(), "Rules".to_owned())].into(),
            ..XmlHints::default()
        };
        let xml = b"<R><Attributes><entry><key>a</key><value>1</value></entry></Attributes><Rule><Id>x</Id></Rule><Rule><Id>y</Id></Rule><Tags><member><Key>k</Key></member></Tags></R>";
        let value = to_value(&parse_xml(xml).expect("xml"), &hints, Protocol::Query);
        assert_eq!(
            value,
            json!({"Attributes": {"a": "1"}, "Rules": [{"Id": "x"}, {"Id": "y"}], "Tags": [{"Key": "k"}]})
        );
    }

    #[test]
    fn broken_documents_are_errors() {
        for xml in [&b"<a><b></a>"[..], b"<a>", b"", b"\xff", b"plain"] {
            assert!(parse_xml(xml).is_err());
        }
        assert!(parse_xml("<a>".repeat(1000).as_bytes()).is_err());
    }
}
