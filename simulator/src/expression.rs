//! `${…}` in fixtures.
//!
//! | expression | what it becomes |
//! |---|---|
//! | `account`, `region`, `index`, `index:4` | the account's digits, the region's name, the item's number (padded) |
//! | `octet`, `ordinal` | the item's number modulo 250, and counted from one |
//! | `hex:17`, `digits:8`, `upper:17`, `uuid` | text drawn for this item |
//! | `hex:17:vpc`, `hex:17:vpc@0` | the same for everyone who says `vpc` of this item's number, or of number 0 |
//! | `name`, `name:role`, `name:role@0` | a believable name with the item's number, told apart in the same way |
//! | `number:1:9`, `true:0.2` | a number, a truth (typed, where they are the whole text) |
//! | `pick:a|b` | one of these |
//! | `epoch`, `iso`, `iso:ms` | a time: seconds, `2024-05-06T07:08:09Z`, and with milliseconds and `+0000` |
//! | `secret` | a value that no reader may keep; always begins with [`SECRET_MARK`] |
//! | `external_id` | another vendor's ExternalId; begins with [`SECRET_MARK`] too |
//! | `own_external_id` | the one that the accounts file has |
//! | `home_region` | one of the account's enabled regions |
//! | `^`, `^Field.Sub`, `^^Field` | the item that this was asked for, its fields, the item above it |
//! | `^\|tail` | of that, what stands after the last `/` or `:` |

use crate::dice::Dice;
use fleetscan_proto::catalogue::FieldPath;
use jiff::Timestamp;
use serde_json::Value;

/// What planted secrets begin with, so that a test can say that none of them came through.
pub const SECRET_MARK: &str = "planted-secret-";

/// What an expression can see.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    /// The item's number in its list.
    pub(crate) index: usize,
    /// The item's own dice.
    pub(crate) dice: Dice,
    /// The cell's dice.
    pub(crate) cell: Dice,
    /// The items above, nearest first.
    pub(crate) above: &'a [&'a Value],
    pub(crate) regions: &'a [&'static str],
    pub(crate) own_external_id: &'a str,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Account,
    Region,
    Index(usize),
    Octet,
    Ordinal,
    Hex(usize, Option<Shared>),
    Digits(usize),
    Upper(usize),
    Uuid,
    Name(Option<Shared>),
    Number(u64, u64),
    True(f64),
    Pick(Vec<String>),
    Epoch,
    Iso,
    IsoMillis,
    Secret,
    ExternalId,
    OwnExternalId,
    HomeRegion,
    Above { up: usize, path: FieldPath, tail: bool },
}

/// A label that several templates use for the same thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shared {
    label: String,
    index: Option<usize>,
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('^') {
            return above(text);
        }
        let (head, rest) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
        let shared = |text: &str| match text {
            "" => None,
            text => {
                let (label, index) = text.split_once('@').map_or((text, None), |(l, n)| (l, n.parse().ok()));
                Some(Shared { label: label.to_owned(), index })
            }
        };
        Ok(match head {
            "account" => Self::Account,
            "region" => Self::Region,
            "index" if rest.is_empty() => Self::Index(0),
            "index" => Self::Index(number(rest)? as usize),
            "octet" => Self::Octet,
            "ordinal" => Self::Ordinal,
            "hex" => {
                let (count, label) = rest.split_once(':').unwrap_or((rest, ""));
                Self::Hex(number(count)? as usize, shared(label))
            }
            "digits" => Self::Digits(number(rest)? as usize),
            "upper" => Self::Upper(number(rest)? as usize),
            "uuid" => Self::Uuid,
            "name" => Self::Name(shared(rest)),
            "number" => {
                let (low, high) = rest.split_once(':').ok_or("number:low:high")?;
                Self::Number(number(low)?, number(high)?)
            }
            "true" => Self::True(rest.parse().unwrap_or(0.5)),
            "pick" => Self::Pick(rest.split('|').map(str::to_owned).collect()),
            "epoch" => Self::Epoch,
            "iso" if rest == "ms" => Self::IsoMillis,
            "iso" => Self::Iso,
            "secret" => Self::Secret,
            "external_id" => Self::ExternalId,
            "own_external_id" => Self::OwnExternalId,
            "home_region" => Self::HomeRegion,
            _ => return Err(format!("there is no expression ${{{text}}}")),
        })
    }

    /// Its value; null where an item above lacks what is asked of it.
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Value {
        let drawn = |label: &str| scope.dice.text(label);
        match self {
            Self::Account => Value::from(scope.account),
            Self::Region => Value::from(scope.region),
            Self::Index(0) => Value::from(scope.index),
            Self::Index(width) => Value::from(format!("{:0width$}", scope.index)),
            Self::Octet => Value::from(scope.index % 250),
            Self::Ordinal => Value::from(scope.index + 1),
            Self::Hex(count, None) => Value::from(drawn("hex").number(*count as u64).hex(*count)),
            Self::Hex(count, Some(shared)) => Value::from(shared.dice(scope).hex(*count)),
            Self::Digits(count) => Value::from(drawn("digits").letters(b"123456789", *count)),
            Self::Upper(count) => Value::from(drawn("upper").letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", *count)),
            Self::Uuid => Value::from(uuid(drawn("uuid"))),
            Self::Name(None) => Value::from(name(scope.dice, scope.index)),
            Self::Name(Some(shared)) => Value::from(name(shared.dice(scope), shared.index.unwrap_or(scope.index))),
            Self::Number(low, high) => Value::from(drawn("number").number(low ^ high).between(*low, *high)),
            Self::True(probability) => Value::from(drawn("true").number(probability.to_bits()).chance(*probability)),
            Self::Pick(list) => {
                let dice = list.iter().fold(drawn("pick"), |dice, word| dice.text(word));
                Value::from(list[dice.below(list.len() as u64) as usize].as_str())
            }
            Self::Epoch => Value::from(second(scope.dice)),
            Self::Iso => Value::from(time(scope.dice).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            Self::IsoMillis => Value::from(time(scope.dice).strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()),
            Self::Secret => Value::from(format!("{SECRET_MARK}{}", drawn("secret").hex(16))),
            Self::ExternalId => Value::from(format!("{SECRET_MARK}vendor-{}", drawn("external-id").hex(12))),
            Self::OwnExternalId => Value::from(scope.own_external_id),
            Self::HomeRegion => {
                let at = drawn("home").below(scope.regions.len() as u64) as usize;
                Value::from(scope.regions.get(at).copied().unwrap_or(scope.region))
            }
            Self::Above { up, path, tail } => {
                let found = scope.above.get(*up).and_then(|item| path.get(item));
                match (found, tail) {
                    (Some(Value::String(text)), true) => {
                        Value::from(text.rsplit(['/', ':']).next().unwrap_or_default())
                    }
                    (Some(value), _) => value.clone(),
                    (None, _) => Value::Null,
                }
            }
        }
    }
}

impl Shared {
    fn dice(&self, scope: &Scope<'_>) -> Dice {
        scope.cell.text(&self.label).number(self.index.unwrap_or(scope.index) as u64)
    }
}

fn above(text: &str) -> Result<Expression, String> {
    let rest = text.trim_start_matches('^');
    let up = text.len() - rest.len() - 1;
    let (path, tail) = rest.strip_suffix("|tail").map_or((rest, false), |path| (path, true));
    let path = FieldPath::parse(if path.is_empty() { "." } else { path }).map_err(|e| e.to_string())?;
    Ok(Expression::Above { up, path, tail })
}

/// A name as a team would choose it; the number keeps it unique in its list.
fn name(dice: Dice, index: usize) -> String {
    const WHAT: [&str; 24] = [
        "orders", "invoices", "sessions", "events", "audit", "images", "reports", "search", "metrics", "catalog",
        "users", "carts", "refunds", "fraud", "mail", "webhooks", "exports", "ledger", "quotes", "stock", "tickets",
        "uploads", "profiles", "prices",
    ];
    const HOW: [&str; 16] = [
        "api", "worker", "ingest", "archive", "sync", "router", "cache", "replay", "nightly", "stream", "index",
        "gateway", "cleanup", "notify", "batch", "store",
    ];
    let what = WHAT[dice.text("what").below(WHAT.len() as u64) as usize];
    let how = HOW[dice.text("how").below(HOW.len() as u64) as usize];
    format!("{what}-{how}-{index:04}")
}

fn uuid(dice: Dice) -> String {
    let hex = dice.hex(32);
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// Some second from 2019 to 2025.
fn second(dice: Dice) -> i64 {
    1_546_300_800 + dice.text("time").below(6 * 31_557_600) as i64
}

fn time(dice: Dice) -> Timestamp {
    Timestamp::from_second(second(dice)).unwrap_or_default()
}
