//! Answers in XML: the catalogue's hints, read backwards.

use crate::fixture::WireHints;
use fleetscan_proto::catalogue::{Protocol, Service};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How one operation's answer stands on the wire, where that is not the protocol's usual way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wire {
    /// Name of the root element.
    pub(crate) root: Option<String>,
    /// The member that is the whole document.
    pub(crate) payload: Option<String>,
    /// The member that is the root element's text.
    pub(crate) text: Option<String>,
    /// The member that is the body, as it is.
    pub(crate) raw: Option<String>,
    /// Members that go into headers.
    pub(crate) headers: BTreeMap<String, String>,
}

/// Writes a service's answers.
#[derive(Debug)]
pub(crate) struct XmlWriter {
    protocol: Protocol,
    namespace: String,
    children: BTreeMap<String, String>,
    attributes: HashSet<String>,
    maps: HashSet<String>,
    flat: HashSet<String>,
    /// Member to elements, each with the elements that it must stand in (nearest last), if the hint says any.
    elements: HashMap<String, Vec<(Vec<String>, String)>>,
    /// Elements that mean another member, so that no member is written under their name by chance.
    renamed: HashMap<String, String>,
}

impl XmlWriter {
    pub(crate) fn new(service: &Service, hints: &WireHints) -> Self {
        let mut elements: HashMap<String, Vec<(Vec<String>, String)>> = HashMap::new();
        // The fixture's own come first, for they are there to settle what the catalogue leaves open.
        for (from, member) in hints.rename.iter().chain(&service.xml.rename) {
            let mut within: Vec<String> = from.split('/').map(str::to_owned).collect();
            let element = within.pop().unwrap_or_default();
            elements.entry(member.clone()).or_default().push((within, element));
        }
        let namespace = match service.protocol {
            _ if !hints.namespace.is_empty() => hints.namespace.clone(),
            Protocol::Ec2 => format!("http://ec2.amazonaws.com/doc/{}/", service.api_version),
            Protocol::RestXml => "http://s3.amazonaws.com/doc/2006-03-01/".to_owned(),
            _ => {
                format!("http://{}.amazonaws.com/doc/{}/", service.endpoint_prefix, service.api_version)
            }
        };
        Self {
            protocol: service.protocol,
            namespace,
            children: hints.children.clone(),
            attributes: hints.attributes.iter().cloned().collect(),
            maps: service.xml.maps.iter().cloned().collect(),
            flat: service.xml.flat.iter().chain(&hints.flat).cloned().collect(),
            elements,
            renamed: service.xml.rename.iter().map(|(from, to)| (from.clone(), to.clone())).collect(),
        }
    }

    /// An answer's document.
    pub(crate) fn document(&self, operation: &str, wire: &Wire, value: &Value) -> Vec<u8> {
        let mut xml = String::with_capacity(1024);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let response = format!("{operation}Response");
        match self.protocol {
            Protocol::Query => {
                let result = format!("{operation}Result");
                self.open(&mut xml, &response);
                xml.push_str(&format!("<{result}>"));
                self.members(&mut xml, &Within::root(&result), value);
                xml.push_str(&format!("</{result}>{METADATA}</{response}>"));
            }
            Protocol::Ec2 => {
                self.open(&mut xml, &response);
                xml.push_str("<requestId>00000000-0000-4000-8000-000000000000</requestId>");
                self.members(&mut xml, &Within::root(&response), value);
                xml.push_str(&format!("</{response}>"));
            }
            _ => self.rest(&mut xml, wire.root.as_deref().unwrap_or(&response), wire, value),
        }
        xml.into_bytes()
    }

    fn rest(&self, xml: &mut String, root: &str, wire: &Wire, value: &Value) {
        self.open(xml, root);
        if let Some(text) = &wire.text {
            escape(xml, &scalar(value.get(text).unwrap_or(&Value::Null)));
        } else {
            let content = wire.payload.as_ref().map_or(Some(value), |member| value.get(member));
            self.members(xml, &Within::root(root), content.unwrap_or(&Value::Null));
        }
        xml.push_str(&format!("</{root}>"));
    }

    fn open(&self, xml: &mut String, root: &str) {
        xml.push_str(&format!("<{root} xmlns=\"{}\">", self.namespace));
    }

    fn members(&self, xml: &mut String, within: &Within<'_>, value: &Value) {
        let Value::Object(map) = value else { return };
        for (member, value) in map {
            if !self.attributes.is_empty() && self.attributes.contains(&format!("{}/{member}", within.element)) {
                continue;
            }
            self.member(xml, within, &self.element(within, member), value);
        }
    }

    fn member(&self, xml: &mut String, within: &Within<'_>, element: &str, value: &Value) {
        let inside = within.inside(element);
        match value {
            Value::Null => {}
            Value::Array(list) if self.is(&self.flat, within.element, element) => {
                list.iter().for_each(|item| self.content(xml, &inside, element, item));
            }
            Value::Array(list) => {
                let child = self.children.get(element).map_or(self.child(), String::as_str);
                xml.push_str(&format!("<{element}>"));
                list.iter().for_each(|item| self.content(xml, &inside, child, item));
                xml.push_str(&format!("</{element}>"));
            }
            Value::Object(map) if self.is(&self.maps, within.element, element) => self.map(xml, &inside, map),
            one => self.content(xml, &inside, element, one),
        }
    }

    /// An element with a value in it; `within` is what hints about its members are asked by: of a list's elements,
    /// that is the list.
    fn content(&self, xml: &mut String, within: &Within<'_>, element: &str, value: &Value) {
        let attributes = self.attributes_of(within.element, value);
        xml.push_str(&format!("<{element}{attributes}>"));
        match value {
            Value::Object(_) => self.members(xml, within, value),
            Value::Array(list) => {
                let inside = within.inside(element);
                list.iter().for_each(|item| self.content(xml, &inside, self.child(), item));
            }
            one => escape(xml, &scalar(one)),
        }
        xml.push_str(&format!("</{element}>"));
    }

    fn map(&self, xml: &mut String, within: &Within<'_>, map: &Map<String, Value>) {
        xml.push_str(&format!("<{}>", within.element));
        for (key, value) in map {
            xml.push_str("<entry><key>");
            escape(xml, key);
            xml.push_str("</key>");
            self.content(xml, within, "value", value);
            xml.push_str("</entry>");
        }
        xml.push_str(&format!("</{}>", within.element));
    }

    fn attributes_of(&self, element: &str, value: &Value) -> String {
        let Value::Object(map) = value else { return String::new() };
        let of_element = |member: &&String| self.attributes.contains(&format!("{element}/{member}"));
        if self.attributes.is_empty() {
            return String::new();
        }
        map.keys().filter(of_element).fold(String::new(), |mut text, member| {
            text.push_str(" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"");
            escape(&mut text, &scalar(&map[member]));
            text.push('"');
            text
        })
    }

    fn child(&self) -> &'static str {
        if self.protocol == Protocol::Ec2 { "item" } else { "member" }
    }

    fn is(&self, set: &HashSet<String>, parent: &str, element: &str) -> bool {
        !set.is_empty() && (set.contains(element) || set.contains(&format!("{parent}/{element}")))
    }

    /// What a member's element is called: as the hint says that knows most of where it stands (of two that know as
    /// much, the fixture's), else as the protocol does.
    fn element(&self, within: &Within<'_>, member: &str) -> String {
        let usual = match self.protocol {
            Protocol::Ec2 => lowered(member),
            _ => member.to_owned(),
        };
        let Some(known) = self.elements.get(member) else { return usual };
        let fits = known.iter().filter(|(place, _)| within.ends_with(place));
        // `max_by_key` would take the last of equals.
        let best = fits.reduce(|best, other| if other.0.len() > best.0.len() { other } else { best });
        let taken = |element: &str| {
            // A general hint does not hold where a closer one gives its element another meaning.
            self.renamed.get(&format!("{}/{element}", within.element)).is_some_and(|meaning| meaning != member)
        };
        match best {
            Some((place, element)) if !place.is_empty() || !taken(element) => element.clone(),
            _ => usual,
        }
    }
}

/// Where an element stands.
struct Within<'a> {
    element: &'a str,
    outer: Option<&'a Within<'a>>,
}

impl<'a> Within<'a> {
    fn root(element: &'a str) -> Self {
        Self { element, outer: None }
    }
    fn inside(&'a self, element: &'a str) -> Within<'a> {
        Within { element, outer: Some(self) }
    }
    /// Whether the elements around are these, the nearest last.
    fn ends_with(&self, place: &[String]) -> bool {
        let Some((nearest, rest)) = place.split_last() else { return true };
        nearest == self.element && (rest.is_empty() || self.outer.is_some_and(|outer| outer.ends_with(rest)))
    }
}

const METADATA: &str =
    "<ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata>";

fn lowered(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Text as XML wants it.
pub(crate) fn escape(xml: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            c => xml.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::ServiceFixture;
    use fleetscan_proto::catalogue::Catalogue;
    use serde_json::json;

    fn written(service: &str, operation: &str, value: &Value) -> String {
        let service = Catalogue::built_in().service(service).expect("in the catalogue");
        let fixture = ServiceFixture::of(service).expect("sound");
        let index = service.operation(operation).expect("in the catalogue").index;
        let wire = &fixture.operations[index].wire;
        let document = XmlWriter::new(service, &fixture.wire).document(operation, wire, value);
        String::from_utf8(document).expect("UTF-8")
    }

    #[test]
    fn ec2_elements_are_called_as_they_are_where_they_stand() {
        let instance = json!({"State": {"Code": 16}, "SecurityGroups": [{"GroupId": "sg-1"}]});
        let text =
            written("ec2", "DescribeInstances", &json!({"Reservations": [{"Groups": [], "Instances": [instance]}]}));
        let inner = "<reservationSet><item><groupSet></groupSet><instancesSet><item><instanceState><code>16</code></instanceState><groupSet><item><groupId>sg-1</groupId></item></groupSet></item></instancesSet></item></reservationSet>";
        assert!(text.contains(inner), "{text}");
        let attachments = json!([{"State": "available"}]);
        let of = json!({"InternetGateways": [{"Attachments": attachments}]});
        let gateway = written("ec2", "DescribeInternetGateways", &of);
        assert!(gateway.contains("<attachmentSet><item><state>available</state></item></attachmentSet>"), "{gateway}");
        let volume = written("ec2", "DescribeVolumes", &json!({"Volumes": [{"Attachments": attachments}]}));
        assert!(volume.contains("<attachmentSet><item><status>available</status></item></attachmentSet>"), "{volume}");
    }

    #[test]
    fn s3_has_lists_with_names_of_their_own_flat_ones_and_an_attribute() {
        let acl = json!({"Grants": [{"Grantee": {"ID": "x", "Type": "CanonicalUser"}}]});
        let text = written("s3", "GetBucketAcl", &acl);
        assert!(text.contains("<AccessControlList><Grant><Grantee xmlns:xsi="), "{text}");
        assert!(text.contains("xsi:type=\"CanonicalUser\"><ID>x</ID></Grantee>"), "{text}");
        let text = written("s3", "GetBucketCors", &json!({"CORSRules": [{"AllowedMethods": ["GET", "PUT"]}]}));
        let inner = "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod></CORSRule>";
        assert!(text.contains(inner), "{text}");
        let filter = json!({"QueueConfigurations": [{"Filter": {"Key": {"FilterRules": [{"Name": "Prefix"}]}}}]});
        let text = written("s3", "GetBucketNotificationConfiguration", &filter);
        assert!(text.contains("<QueueConfiguration><Filter><S3Key><FilterRule><Name>Prefix"), "{text}");
        let tags = written("s3", "GetBucketTagging", &json!({"TagSet": [{"Key": "a", "Value": "<&>"}]}));
        assert!(tags.contains("<TagSet><Tag><Key>a</Key><Value>&lt;&amp;&gt;</Value></Tag></TagSet>"), "{tags}");
        let place = written("s3", "GetBucketLocation", &json!({"LocationConstraint": "eu-west-1"}));
        assert!(place.ends_with(">eu-west-1</LocationConstraint>"), "{place}");
    }

    #[test]
    fn query_answers_have_members_and_entries() {
        let text = written("iam", "GetAccountSummary", &json!({"SummaryMap": {"Users": 3}}));
        assert!(text.contains("<SummaryMap><entry><key>Users</key><value>3</value></entry></SummaryMap>"), "{text}");
        let text = written("sns", "ListTopics", &json!({"Topics": [{"TopicArn": "a"}]}));
        assert!(text.contains("<Topics><member><TopicArn>a</TopicArn></member></Topics>"), "{text}");
    }
}
