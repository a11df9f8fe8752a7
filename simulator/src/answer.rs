//! Pages of answers.

use crate::{
    dice::Dice,
    fixture::{ListFixture, OperationFixture, ServiceFixture},
    lists::Lists,
    problem::{Kind, Problem},
    request::Params,
    stock::{Answer, Body, Kept, Stock, list_at, put},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use fleetscan_proto::catalogue::{FieldPath, Operation, Paging};
use serde_json::{Map, Value};
use std::ops::{Deref, Range};

/// A good answer: a value, and the bytes of it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) bytes: Bytes,
    /// Members that go into headers: header name and value.
    pub(crate) headers: Vec<(String, String)>,
}

/// An operation, its fixture, and how its answers are written.
pub(crate) struct Asked<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) fixture: &'a ServiceFixture,
    pub(crate) write: &'a dyn Fn(&Value) -> Vec<u8>,
    /// That is as JSON.
    pub(crate) json: bool,
    /// The region that the call is signed for.
    pub(crate) region: &'a str,
    /// The service's usual code for an item that is not there.
    pub(crate) not_found: &'a str,
}

impl Asked<'_> {
    fn fixture(&self) -> &OperationFixture {
        &self.fixture.operations[self.operation.index]
    }

    /// Answers a call.
    pub(crate) fn page(&self, stock: &Stock, params: &Params) -> Result<Page, Problem> {
        let batch = self.operation.parent.as_ref().and_then(|p| p.batch.as_ref());
        if let Some((param, max)) = batch {
            return self.batch(stock, params, param, *max);
        }
        let key = self.key(params, None)?;
        let Some(kept) = stock.answer(self.operation, &key) else {
            return Err(self.gone());
        };
        self.check_region(kept)?;
        match &kept.answer {
            Answer::Body(body) => self.of_body(body, &key, params),
            Answer::Absent => {
                let code = self.operation.absent.first().cloned().unwrap_or_default();
                Err(Problem::coded(Kind::Absent, code, "There is none."))
            }
        }
    }

    /// An item that nobody has, in the operation's own word where its service's usual one is not among those it knows.
    fn gone(&self) -> Problem {
        let known = &self.operation.absent;
        let code = known.iter().find(|code| *code == self.not_found).or(known.first());
        let code = code.map_or(self.not_found, String::as_str);
        Problem::coded(Kind::NotFound, code, "The resource you requested does not exist.")
    }

    /// S3's answer to whoever asks in another region than the bucket's.
    fn check_region(&self, kept: &Kept) -> Result<(), Problem> {
        match &kept.region {
            Some(region) if region != self.region => Err(Problem::elsewhere(region)),
            _ => Ok(()),
        }
    }

    /// The key of the item that a call is about; `element` is one of a batch.
    fn key(&self, params: &Params, element: Option<(&str, &str)>) -> Result<String, Problem> {
        let mut key = String::new();
        let mut add = |value: &str| {
            key.push_str(value);
            key.push('\x1f');
        };
        let mut batched = false;
        for (name, binding) in &self.operation.with {
            if !binding.is_of_item() {
                continue;
            }
            match element {
                Some((param, value)) if param == name => {
                    batched = true;
                    add(value);
                }
                _ => add(&params.one(name).ok_or_else(|| missing(name))?),
            }
        }
        if let (Some((_, value)), false) = (element, batched) {
            add(value);
        }
        Ok(key)
    }

    fn batch(&self, stock: &Stock, params: &Params, param: &str, max: usize) -> Result<Page, Problem> {
        let elements = params.many(param);
        if elements.is_empty() || elements.len() > max {
            let text = format!("{param} must have between 1 and {max} members, not {}.", elements.len());
            return Err(Problem::new(Kind::Invalid, text));
        }
        let fixture = self.fixture();
        let mut whole: Option<Value> = None;
        let mut found: Vec<Vec<Value>> = vec![Vec::new(); fixture.paged.len()];
        for element in &elements {
            let key = self.key(params, Some((param, element)))?;
            let Some(Kept { answer: Answer::Body(body), .. }) = stock.answer(self.operation, &key) else { continue };
            let value = body.value();
            for (path, all) in fixture.paged.iter().zip(&mut found) {
                all.extend_from_slice(list_at(&value, path));
            }
            whole.get_or_insert(value);
        }
        let mut whole = whole.unwrap_or_else(|| Value::Object(Map::new()));
        for (path, all) in fixture.paged.iter().zip(found) {
            put(&mut whole, path, Value::Array(all));
        }
        Ok(Page { bytes: (self.write)(&whole).into(), headers: self.headers(&whole) })
    }

    fn of_body(&self, body: &Body, key: &str, params: &Params) -> Result<Page, Problem> {
        let fixture = self.fixture();
        let headers = if fixture.wire.headers.is_empty() { Vec::new() } else { self.headers(&body.value()) };
        if let Some(list) = fixture.lists.iter().find(|list| list.of_regions) {
            let mut value = body.value();
            let wanted = regions(&value, list, params);
            put(&mut value, &list.path, Value::Array(wanted));
            // Another list for each set of parameters: no page of it is kept.
            let bytes = match &self.operation.paging {
                Some(paging) => {
                    let lists = Lists::of(value, &fixture.paged);
                    let (token, size) = self.asked_for(paging, params)?;
                    self.piece(&lists, paging, (self.place(token, key, || &lists)?, size), key)
                }
                None => (self.write)(&value).into(),
            };
            return Ok(Page { bytes, headers });
        }
        let Some(paging) = &self.operation.paging else {
            if self.json {
                return Ok(Page { bytes: body.json().clone(), headers });
            }
            let bytes = body.page((0, 0), || Ok((self.write)(&body.value()).into()))?;
            return Ok(Page { bytes, headers });
        };
        let lists = || body.lists(&fixture.paged);
        let (token, size) = self.asked_for(paging, params)?;
        let place = (self.place(token, key, lists)?, size);
        let bytes = body.page(place, || Ok(self.piece(&lists(), paging, place, key)))?;
        Ok(Page { bytes, headers })
    }

    /// The token of the page that is asked for, and how many items it may have.
    fn asked_for(&self, paging: &Paging, params: &Params) -> Result<(Option<String>, usize), Problem> {
        let token = params.one(&paging.input).filter(|token| !token.is_empty());
        Ok((token.map(|token| token.to_string()), self.size(paging, params)?))
    }

    /// At which item the page begins that a token leads to.
    fn place<L: Deref<Target = Lists>>(
        &self,
        token: Option<String>,
        key: &str,
        lists: impl FnOnce() -> L,
    ) -> Result<usize, Problem> {
        match (&token, &self.fixture().token) {
            (None, _) => Ok(0),
            (Some(token), Some(path)) => start_after(token, path, &lists()),
            (Some(token), None) => self.start(token, key),
        }
    }

    /// That page, written.
    fn piece(&self, lists: &Lists, paging: &Paging, (start, size): (usize, usize), key: &str) -> Bytes {
        let end = lists.len().min(start + size);
        let token = (end < lists.len()).then(|| self.token(end, key, lists));
        (self.write)(&self.slice(lists, paging, start..end, token)).into()
    }

    fn size(&self, paging: &Paging, params: &Params) -> Result<usize, Problem> {
        let Some((name, max)) = &paging.size else { return Ok(self.fixture().page) };
        match params.one(name) {
            None => Ok(self.fixture().page),
            Some(text) => match text.parse::<usize>() {
                Ok(size) if size > 0 => Ok(size.min(*max as usize)),
                _ => Err(Problem::new(Kind::Invalid, format!("{name} must be a number above 0, not {text}."))),
            },
        }
    }

    /// The answer with only those items of its lists, and the paging members.
    fn slice(&self, lists: &Lists, paging: &Paging, range: Range<usize>, token: Option<String>) -> Value {
        let (mut page, found) = lists.between(range.start, range.end);
        for (path, items) in self.fixture().paged.iter().zip(found) {
            put(&mut page, path, Value::Array(items));
        }
        let at = |path: &FieldPath| crate::fixture::keys(path.as_str());
        if let Some(path) = paging.more.as_ref().and_then(at) {
            put(&mut page, &path, Value::Bool(token.is_some()));
        }
        if let (Some(token), Some(path)) = (token, at(&paging.output)) {
            put(&mut page, &path, Value::String(token));
        }
        page
    }

    fn token(&self, start: usize, key: &str, lists: &Lists) -> String {
        if let Some(path) = &self.fixture().token
            && let Some(item) = lists.item(start - 1)
            && let Some(token) = path.get(&item).and_then(Value::as_str)
        {
            return token.to_owned();
        }
        STANDARD.encode(format!("{start}.{}", self.seal(start, key)))
    }

    /// The item that a token leads to.
    fn start(&self, token: &str, key: &str) -> Result<usize, Problem> {
        let text = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad_token)?;
        let (start, seal) = text.split_once('.').ok_or_else(bad_token)?;
        let start: usize = start.parse().map_err(|_| bad_token())?;
        if seal == self.seal(start, key) { Ok(start) } else { Err(bad_token()) }
    }

    /// Ties a token to its operation and item.
    fn seal(&self, start: usize, key: &str) -> String {
        Dice::new(start as u64).text(&self.operation.name).text(key).hex(12)
    }

    fn headers(&self, value: &Value) -> Vec<(String, String)> {
        let wanted = self.fixture().wire.headers.iter();
        let text = |member: &String| value.get(member).and_then(Value::as_str).map(str::to_owned);
        wanted.filter_map(|(member, header)| Some((header.clone(), text(member)?))).collect()
    }
}

/// The regions that a request wants: by state (account:ListRegions), or enabled ones (ec2:DescribeRegions).
fn regions(value: &Value, list: &ListFixture, params: &Params) -> Vec<Value> {
    let states = params.many("RegionOptStatusContains");
    let all = params.one("AllRegions").is_some_and(|all| all == "true");
    let wanted = |item: &&Value| match (item.get("RegionOptStatus"), item.get("OptInStatus")) {
        (Some(state), _) => states.is_empty() || state.as_str().is_some_and(|s| states.iter().any(|w| w == s)),
        (None, Some(state)) => all || state != "not-opted-in",
        (None, None) => true,
    };
    list_at(value, &list.path).iter().filter(wanted).cloned().collect()
}

/// The item after the one that a token names.
fn start_after(token: &str, path: &FieldPath, lists: &Lists) -> Result<usize, Problem> {
    let is = |item: &Value| path.get(item).and_then(Value::as_str) == Some(token);
    lists.position(is).map(|at| at + 1).ok_or_else(bad_token)
}

fn bad_token() -> Problem {
    Problem::new(Kind::BadPageToken, "The pagination token is not valid.")
}

fn missing(name: &str) -> Problem {
    Problem::new(
        Kind::Invalid,
        format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ),
    )
}
