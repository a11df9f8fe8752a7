use super::{findings::Findings, nearest};
use fleetscan_proto::{
    Account, AccountId, Grant, GrantError, KNOWN_REGIONS, Secret, TrailPlace, check_external_id, is_region_shaped,
    parse_role_arn,
};
use std::collections::HashMap;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What an account may have.
pub(super) const KEYS: [&str; 7] =
    ["id", "role_arn", "external_id", "name", "customer", "regions", "cloudtrail_bucket"];

/// Reads accounts one by one and remembers which there were.
pub(super) struct Entries<'f, 'a> {
    findings: &'f mut Findings<'a>,
    pub(super) accounts: Vec<Account>,
    /// Where each account's id stands first.
    seen: HashMap<AccountId, usize>,
}

impl<'f, 'a> Entries<'f, 'a> {
    pub(super) fn new(findings: &'f mut Findings<'a>) -> Self {
        Self { findings, accounts: Vec::new(), seen: HashMap::new() }
    }

    /// Notes a mistake at a byte of the text.
    pub(super) fn error(&mut self, at: usize, text: &str) {
        self.findings.errors.push((at, text.to_owned()));
    }

    /// Reads the account whose header stands at `at`; keeps it if nothing is missing.
    pub(super) fn read(&mut self, at: usize, table: &DeTable<'_>) {
        for key in table.keys().filter(|key| !KEYS.contains(&key.get_ref().as_ref())) {
            let text = nearest::unknown_key(key.get_ref(), &KEYS, "an account");
            self.error(key.span().start, &text);
        }
        let id = self.required(at, table, "id", "111122223333").and_then(|value| self.id(value));
        let role_arn = self.required(at, table, "role_arn", "arn:aws:iam::<12 digits>:role/<name>");
        let role_arn = role_arn.and_then(|value| self.role_arn(value, id.as_ref()));
        let external_id = self.required(at, table, "external_id", "<16 to 64 characters>");
        let external_id = external_id.and_then(|value| self.external_id(value));
        let name = self.label(table, "name");
        let customer = self.label(table, "customer");
        let regions = table.get("regions").map(|value| self.regions(value)).unwrap_or_default();
        let cloudtrail_bucket = table.get("cloudtrail_bucket").and_then(|value| self.cloudtrail_bucket(value));
        if let (Some(id), Some(role_arn), Some(external_id)) = (id, role_arn, external_id) {
            let grant = Grant { role_arn, external_id };
            self.accounts.push(Account { id, grant, name, customer, regions, cloudtrail_bucket });
        }
    }

    fn required<'t, 'i>(
        &mut self,
        at: usize,
        table: &'t DeTable<'i>,
        key: &str,
        example: &str,
    ) -> Option<&'t Spanned<DeValue<'i>>> {
        let value = table.get(key);
        if value.is_none() {
            self.error(at, &format!("this account has no {key}: write {key} = \"{example}\""));
        }
        value
    }

    fn text<'t>(&mut self, key: &str, value: &'t Spanned<DeValue<'_>>) -> Option<&'t str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.error(value.span().start, &format!("{key} is {}: write text, in quotes", kind(value.get_ref())));
        }
        text
    }

    fn id(&mut self, value: &Spanned<DeValue<'_>>) -> Option<AccountId> {
        let at = value.span().start;
        if let DeValue::Integer(number) = value.get_ref() {
            let digits = number.as_str();
            // Only a number that may be an id is repeated; a shorter one has perhaps lost its leading zeros.
            let example = if number.radix() == 10 && is_id(digits) { digits } else { "012345678901" };
            self.error(at, &format!("id is a number: write it in quotes, with all 12 digits: id = \"{example}\""));
            return None;
        }
        let text = self.text("id", value)?;
        let Ok(id) = text.parse::<AccountId>() else {
            let length = text.chars().count();
            let wrong = match text.bytes().all(|b| b.is_ascii_digit()) {
                true => format!("id has {length} digits"),
                false => "id has other characters than digits".to_owned(),
            };
            self.error(at, &format!("{wrong}: write the 12 digits of the account, without dashes or spaces"));
            return None;
        };
        match self.seen.get(&id) {
            Some(first) => {
                let (first, second) = (self.findings.line(*first), self.findings.line(at));
                let text = format!("account {id} is here on line {second} and on line {first}: remove one of the two");
                self.error(at, &text);
            }
            None => {
                self.seen.insert(id.clone(), at);
            }
        }
        Some(id)
    }

    fn role_arn(&mut self, value: &Spanned<DeValue<'_>>, id: Option<&AccountId>) -> Option<Secret> {
        let text = self.text("role_arn", value)?;
        match (parse_role_arn(text), id) {
            (Err(wrong), _) => self.error(value.span().start, &wrong.to_string()),
            (Ok(owner), Some(id)) if owner != *id => {
                let text = format!("role_arn is of account {owner}, but id is {id}: write the role of account {id}");
                self.error(value.span().start, &text);
            }
            (Ok(_), _) => return Some(Secret::new(text)),
        }
        None
    }

    fn external_id(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Secret> {
        let text = self.text("external_id", value)?;
        match check_external_id(text) {
            Ok(()) => Some(Secret::new(text)),
            Err(wrong) => {
                self.error(value.span().start, &wrong.to_string());
                None
            }
        }
    }

    fn cloudtrail_bucket(&mut self, value: &Spanned<DeValue<'_>>) -> Option<TrailPlace> {
        let bucket = self.text("cloudtrail_bucket", value)?.parse();
        bucket.map_err(|wrong: GrantError| self.error(value.span().start, &wrong.to_string())).ok()
    }

    /// A name for people, where there is one.
    fn label(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        let value = table.get(key)?;
        let text = self.text(key, value)?;
        let wrong = match text {
            _ if text.trim().is_empty() => "is empty: write a name, or leave the line out",
            _ if text.chars().any(char::is_control) => "has a control character: write it in plain characters",
            _ => return Some(text.to_owned()),
        };
        self.error(value.span().start, &format!("{key} {wrong}"));
        None
    }

    fn regions(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<String> {
        let at = value.span().start;
        let mut regions: Vec<String> = Vec::new();
        let Some(list) = value.get_ref().as_array() else {
            let kind = kind(value.get_ref());
            self.error(at, &format!("regions is {kind}: write a list in brackets: regions = [\"eu-west-1\"]"));
            return regions;
        };
        if list.is_empty() {
            self.error(at, "regions is empty: name a region, or leave the line out to read every enabled region");
        }
        for entry in list.iter() {
            let Some(region) = self.text("an entry of regions", entry) else { continue };
            if let Err(wrong) = check_region(region) {
                self.error(entry.span().start, &wrong);
            } else if regions.iter().any(|named| named == region) {
                self.warning(entry.span().start, format!("region {region:?} is named twice: once will do"));
            } else {
                if !KNOWN_REGIONS.contains(&region) {
                    let text = format!("region {region:?} is not one fleetscan knows: check its spelling");
                    self.warning(entry.span().start, text);
                }
                regions.push(region.to_owned());
            }
        }
        regions
    }

    fn warning(&mut self, at: usize, text: String) {
        self.findings.warnings.push((at, text));
    }
}

fn check_region(region: &str) -> Result<(), String> {
    match region {
        // Longer words than any region's are not repeated, and least of all an ARN.
        _ if is_region_shaped(region) && region.len() <= 32 => Ok(()),
        _ if region.trim().is_empty() => Err("a region is empty: write one such as \"eu-west-1\", or remove it".into()),
        "global" => Err("\"global\" is no region, and global services are always read: remove it".into()),
        _ if region.len() <= 20 && !region.contains(':') => {
            Err(format!("{region:?} is not a region: write one such as \"eu-west-1\""))
        }
        _ => Err("an entry of regions is not a region: write one such as \"eu-west-1\"".into()),
    }
}

fn is_id(digits: &str) -> bool {
    digits.parse::<AccountId>().is_ok()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
