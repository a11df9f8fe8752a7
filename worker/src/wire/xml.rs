use fleetscan_proto::catalogue::{XmlHint, XmlIndex, XmlKind};
use quick_xml::{Reader, events::Event};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// An answer that is not the XML it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed XML: {0}")]
pub struct XmlError(String);

/// How deep an answer may nest; AWS's deepest is about a dozen.
const MAX_DEPTH: usize = 64;

/// An element with its text and its children, namespaces dropped; names and most texts are the document's own bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element<'x> {
    /// Local name.
    pub name: &'x str,
    /// Text directly inside, references resolved.
    pub text: Cow<'x, str>,
    /// Child elements, in order.
    pub children: Vec<Element<'x>>,
}

impl<'x> Element<'x> {
    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element<'x>> {
        self.children.iter().find(|c| c.name == name)
    }
    /// The first element of that name, at any depth, this one included.
    pub fn find(&self, name: &str) -> Option<&Element<'x>> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|c| c.find(name)) }
    }

    fn push_text(&mut self, piece: Cow<'x, str>) {
        if self.text.is_empty() {
            self.text = piece;
        } else if self.children.is_empty() || !piece.trim_ascii().is_empty() {
            // Indentation between children is nobody's text, and would be a copy for each of them.
            self.text.to_mut().push_str(&piece);
        }
    }

    /// Lists of AWS's query protocols call their items so.
    fn holds_items(&self) -> bool {
        !self.children.is_empty() && self.children.iter().all(|c| c.name == "member" || c.name == "item")
    }
}

/// Reads a document into its root element.
pub fn parse_xml(bytes: &[u8]) -> Result<Element<'_>, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError("not UTF-8".into()))?;
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element<'_>> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|e| XmlError(e.to_string()))?;
        // Where the event ended: its tag's own bytes lie before it.
        let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        match event {
            Event::Start(start) => {
                if open.len() >= MAX_DEPTH {
                    return Err(XmlError("nested too deep".into()));
                }
                open.push(element(tag(text, end, ">", &start)?)?);
            }
            Event::Empty(start) => {
                let element = element(tag(text, end, "/>", &start)?)?;
                close(&mut open, &mut root, element);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| XmlError("an end without a start".into()))?;
                close(&mut open, &mut root, element);
            }
            Event::Text(piece) => {
                if let Some(top) = open.last_mut() {
                    top.push_text(piece.into_inner());
                }
            }
            Event::CData(piece) => {
                if let Some(top) = open.last_mut() {
                    top.push_text(piece.into_inner());
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(top) = open.last_mut() {
                    let text = top.text.to_mut();
                    match reference.resolve_char_ref().map_err(|e| XmlError(e.to_string()))? {
                        Some(c) => text.push(c),
                        None => text.push_str(quick_xml::escape::resolve_xml_entity(&reference).unwrap_or_default()),
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

/// The bytes of a tag in the document, which outlive the event that borrows them.
fn tag<'x>(text: &'x str, end: usize, closing: &str, content: &str) -> Result<&'x str, XmlError> {
    let found = end.checked_sub(closing.len()).and_then(|end| text.get(end.checked_sub(content.len())?..end));
    found.filter(|found| *found == content).ok_or_else(|| XmlError("a tag that is not where it should be".into()))
}

fn element(tag: &str) -> Result<Element<'_>, XmlError> {
    let (name, attributes) = match tag.find(|c: char| c.is_ascii_whitespace()) {
        Some(at) => tag.split_at(at),
        None => (tag, ""),
    };
    let mut element = Element { name: name.rsplit(':').next().unwrap_or(name), ..Element::default() };
    // The one attribute that AWS uses as data: the type of an S3 grantee.
    if attributes.contains("xsi:type") {
        let start = quick_xml::events::BytesStart::from_content(tag, name.len());
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|e| XmlError(e.to_string()))?;
            if attribute.key.as_ref() == "xsi:type" {
                let text = Cow::Owned(attribute.value.to_string());
                element.children.push(Element { name: "Type", text, children: Vec::new() });
            }
        }
    }
    Ok(element)
}

fn close<'x>(open: &mut [Element<'x>], root: &mut Option<Element<'x>>, element: Element<'x>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// An element's children as an object, with the API's names and types as far as the hints tell. `parent` names the
/// element that hints are asked about: for an item of a list, that is the list.
pub fn object(element: &Element<'_>, parent: &str, hints: &XmlIndex) -> Value {
    let mut map = Map::with_capacity(element.children.len());
    for child in &element.children {
        let hint = hints.hint(parent, child.name);
        let key = hints.key(hint, child.name);
        let found = value(child, hint, hints);
        if hint.flat {
            match map.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(list) => list.push(found),
                other => *other = Value::Array(vec![found]),
            }
        } else {
            map.insert(key, found);
        }
    }
    Value::Object(map)
}

fn value(element: &Element<'_>, hint: &XmlHint, hints: &XmlIndex) -> Value {
    match hint.kind {
        Some(XmlKind::Map) => map_of(element, hints),
        Some(XmlKind::Structure) => object(element, element.name, hints),
        Some(XmlKind::Integer) => number(&element.text, |t| t.parse::<i64>().ok().map(Number::from)),
        Some(XmlKind::Float) => number(&element.text, |t| t.parse().ok().and_then(Number::from_f64)),
        Some(XmlKind::Boolean) => match element.text.trim() {
            "true" | "True" | "1" => Value::Bool(true),
            "false" | "False" | "0" => Value::Bool(false),
            other => Value::from(other),
        },
        Some(XmlKind::List) => list(element, hints),
        None if element.holds_items() => list(element, hints),
        None if !element.children.is_empty() => object(element, element.name, hints),
        None => Value::from(element.text.as_ref()),
    }
}

fn list(element: &Element<'_>, hints: &XmlIndex) -> Value {
    element.children.iter().map(|item| list_item(item, element.name, hints)).collect()
}

fn list_item(item: &Element<'_>, list: &str, hints: &XmlIndex) -> Value {
    match item.children.is_empty() {
        true => value(item, hints.hint(list, item.name), hints),
        false if item.holds_items() => item.children.iter().map(|inner| list_item(inner, item.name, hints)).collect(),
        false => object(item, list, hints),
    }
}

fn map_of(element: &Element<'_>, hints: &XmlIndex) -> Value {
    let mut map = Map::with_capacity(element.children.len());
    for entry in &element.children {
        if let (Some(key), Some(content)) = (entry.child("key"), entry.child("value")) {
            map.insert(key.text.to_string(), value(content, hints.hint(element.name, content.name), hints));
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
    use fleetscan_proto::catalogue::{Protocol, XmlHints};
    use serde_json::json;

    fn read(xml: &[u8], hints: &XmlHints, protocol: Protocol) -> Value {
        let root = parse_xml(xml).expect("xml");
        object(&root, root.name, &XmlIndex::new(hints, protocol))
    }

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
        let mut value = read(xml, &hints, Protocol::Ec2);
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
        let value = read(xml, &hints, Protocol::Query);
        assert_eq!(
            value,
            json!({"Attributes": {"a": "1"}, "Rules": [{"Id": "x"}, {"Id": "y"}], "Tags": [{"Key": "k"}]})
        );
    }

    #[test]
    fn names_attributes_and_mixed_texts_are_the_documents() {
        let xml = "\u{feff}<?xml version='1.0'?>\n<s3:Grant xmlns:s3='a' >\n  <Grantee xmlns:xsi=\"x\" xsi:type=\"Group\"/>\n  \
                   <P a='1'>x &lt;<![CDATA[<y>]]> z</P>\n <Note/>\n</s3:Grant>";
        let root = parse_xml(xml.as_bytes()).expect("xml");
        assert_eq!(root.name, "Grant");
        let value = object(&root, root.name, &XmlIndex::default());
        assert_eq!(value, json!({"Grantee": {"Type": "Group"}, "P": "x <<y> z", "Note": ""}));
    }

    #[test]
    fn broken_documents_are_errors() {
        for xml in [&b"<a><b></a>"[..], b"<a>", b"", b"\xff", b"plain"] {
            assert!(parse_xml(xml).is_err());
        }
        assert!(parse_xml("<a>".repeat(1000).as_bytes()).is_err());
    }
}
