//! A call, from its bytes to the bytes of its answer.

use crate::{
    admission::out_of_scope,
    answer::{Asked, Page},
    bucket::Buckets,
    config::Config,
    counters::{CallResult, Slot, Tally},
    dice::Dice,
    events::{self, Events},
    fixture::ServiceFixture,
    live::Live,
    own_role,
    policy::{self, DeniedBy, SessionPolicies},
    problem::{Kind, Problem, Words},
    region::RegionId,
    request::{Incoming, Params},
    route::{Routes, Target},
    session::{Mint, Session},
    signature::{Authorization, Verifier},
    stock::{CellKey, Stock, StockParts},
    stocks::Stocks,
    sts,
    world::{AccountIndex, World},
    xml::XmlWriter,
};
use bytes::Bytes;
use fleetscan_proto::catalogue::{Operation, Scope, Service};
use serde_json::Value;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Hub,
    /// The hub under its role.
    HubRole(Session),
    Session(Session),
}

impl Caller {
    pub(crate) fn is_hub(&self) -> bool {
        matches!(self, Caller::Hub | Caller::HubRole(_))
    }
}

/// An answer on its way out.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) request_id: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// The simulated AWS.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) live: Live,
    pub(crate) mint: Mint,
    pub(crate) policies: SessionPolicies,
    pub(crate) buckets: Buckets,
    pub(crate) tally: Tally,
    pub(crate) stocks: Stocks,
    pub(crate) fixtures: Vec<ServiceFixture>,
    pub(crate) verifier: Verifier,
    routes: Routes,
    writers: Vec<Option<XmlWriter>>,
    words: Vec<Words>,
    requests: AtomicU64,
}

/// How a call ended, and the answer.
struct Verdict {
    slot: Slot,
    account: Option<AccountIndex>,
    result: Result<(CallResult, Page), Problem>,
    /// Whose words an error is in.
    words: usize,
}

impl Engine {
    pub(crate) fn new(config: Config) -> anyhow::Result<Self> {
        let services = config.catalogue.services();
        let fixtures = services.iter().map(|s| ServiceFixture::of(s)).collect::<Result<Vec<_>, _>>();
        let fixtures = fixtures.map_err(anyhow::Error::msg)?;
        let writers = services
            .iter()
            .zip(&fixtures)
            .map(|(service, fixture)| service.protocol.is_xml().then(|| XmlWriter::new(service, &fixture.wire)));
        let world = World::new(&config);
        let live = Live::new(config.accounts);
        for account in world.accounts() {
            live.set_rotation(account, sts::first_rotation(world.persona(account).fate));
        }
        Ok(Self {
            writers: writers.collect(),
            words: Words::of(services).map_err(anyhow::Error::msg)?,
            tally: Tally::new(services, config.accounts),
            routes: Routes::new(&config.catalogue),
            mint: Mint::new(config.seed),
            buckets: Buckets::new(config.limits, config.seed),
            policies: SessionPolicies::default(),
            verifier: Verifier::default(),
            stocks: Stocks::default(),
            requests: AtomicU64::new(0),
            fixtures,
            world,
            live,
            config,
        })
    }

    pub(crate) fn services(&self) -> &[Arc<Service>] {
        self.config.catalogue.services()
    }
    pub(crate) fn hub_credentials(&self) -> (String, String) {
        let dice = Dice::new(self.config.seed).text("hub");
        (format!("AKIA{}", dice.letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)), dice.text("secret").hex(40))
    }

    /// Answers a call, after as long as AWS would take.
    pub(crate) async fn answer(&self, request: Incoming) -> Reply {
        let number = self.requests.fetch_add(1, Relaxed);
        let latency = self.latency(number);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let now_ms = now_ms();
        let verdict = self.judge(&request, now_ms);
        let ended = match &verdict.result {
            Ok((result, _)) => *result,
            Err(problem) => result_of(problem),
        };
        self.tally.count(verdict.slot, verdict.account, ended, now_ms);
        self.reply(&request, verdict, number)
    }

    /// From half to one and a half of the mean.
    fn latency(&self, number: u64) -> Duration {
        if self.config.latency.is_zero() {
            return Duration::ZERO;
        }
        let dice = Dice::new(self.config.seed).text("latency").number(number);
        self.config.latency.mul_f64(0.5 + dice.fraction())
    }

    fn judge(&self, request: &Incoming, now_ms: i64) -> Verdict {
        let unknown = self.words.len() - 1;
        let fail = |problem| Verdict { slot: Slot::Unknown, account: None, result: Err(problem), words: unknown };
        let Some(header) = request.header("authorization") else {
            return fail(Problem::new(Kind::MissingAuth, "Missing Authentication Token"));
        };
        let authorization = match Authorization::parse(header) {
            Ok(authorization) => authorization,
            Err(text) => return fail(Problem::coded(Kind::BadSignature, "IncompleteSignature", text)),
        };
        if authorization.service == "sts" {
            return self.judge_sts(request, &authorization, now_ms);
        }
        match self.routes.find(request, authorization.service) {
            Some(target) => self.judge_service(request, &authorization, target, now_ms),
            None => {
                let text = format!("Credential should be scoped to correct service, not {:?}.", authorization.service);
                fail(Problem::new(Kind::BadSignature, text))
            }
        }
    }

    fn judge_sts(&self, request: &Incoming, authorization: &Authorization<'_>, now_ms: i64) -> Verdict {
        let action = request.form("Action").unwrap_or_default();
        let slot = match action.as_str() {
            "AssumeRole" => Slot::AssumeRole,
            "GetCallerIdentity" => Slot::GetCallerIdentity,
            _ => Slot::OtherSts,
        };
        let params = Params::read(request, fleetscan_proto::catalogue::Protocol::Query, None, Vec::new());
        let asked = params.as_ref().ok().and_then(|params| sts::target(self, params));
        let mut account = if slot == Slot::AssumeRole { asked } else { None };
        let result = self.caller(request, authorization, now_ms).and_then(|caller| {
            if let Caller::Session(session) = &caller {
                account = account.or(Some(session.account));
            }
            let region = RegionId::parse(authorization.region).filter(|r| *r != RegionId::GLOBAL);
            let region = region.ok_or_else(|| out_of_scope("a valid region"))?;
            self.check_session(&caller, region, now_ms, "sts:GetCallerIdentity")?;
            if caller.is_hub() && !self.buckets.take_sts(region) {
                return Err(Problem::new(Kind::Throttled, "Rate exceeded"));
            }
            let params = params.map_err(|text| Problem::new(Kind::Invalid, text))?;
            let document = match slot {
                Slot::AssumeRole => sts::assume_role(self, &caller, &params, now_ms)?,
                Slot::GetCallerIdentity => sts::caller_identity(self, &caller),
                _ => {
                    let text = format!("Could not find operation {action} for version 2011-06-15");
                    return Err(Problem::new(Kind::UnknownOperation, text));
                }
            };
            Ok((CallResult::Ok, Page { bytes: document.into(), headers: Vec::new() }))
        });
        // The words of a service that nobody knows are the query protocol's, and so are STS's.
        Verdict { slot, account, result, words: self.words.len() - 1 }
    }

    fn judge_service(
        &self,
        request: &Incoming,
        authorization: &Authorization<'_>,
        mut target: Target,
        now_ms: i64,
    ) -> Verdict {
        let slot = Slot::Operation(target.index, target.operation);
        let words = target.index;
        let mut account = None;
        let result = self.caller(request, authorization, now_ms).and_then(|caller| {
            let Caller::Session(session) = &caller else {
                let text = policy::denial(DeniedBy::Identity, &caller.arn(self), &action_of(&target));
                return Err(Problem::new(Kind::Denied, text));
            };
            account = Some(session.account);
            self.revoke_in_mid_scan(session.account, &target.service, now_ms);
            let region = self.region(&target.service, authorization.region)?;
            self.check_session(&caller, region, now_ms, &action_of(&target))?;
            self.check_permission(session, &caller, &target, region)?;
            let params = target.params(request).map_err(|text| Problem::new(Kind::Invalid, text))?;
            if let Some(answer) = own_role::answer(self, session.account, &target, &params) {
                return answer.map(|value| (CallResult::Ok, self.written(&target, &value)));
            }
            if let Some(answer) = events::answer(self, session.account, region, &target, &params, now_ms) {
                return answer.map(|value| (CallResult::Ok, self.written(&target, &value)));
            }
            self.page(session.account, region, &target, &params).map(|page| (CallResult::Ok, page))
        });
        Verdict { slot, account, result, words }
    }

    fn page(&self, account: AccountIndex, region: RegionId, target: &Target, params: &Params) -> Result<Page, Problem> {
        let Some(operation) = target.operation() else {
            return Err(Problem::new(Kind::UnknownOperation, "The requested operation is not known here."));
        };
        let cell_region = match target.service.scope {
            Scope::Global { .. } => RegionId::GLOBAL,
            Scope::Regional => region,
        };
        let slot = self.stock(CellKey { account, region: cell_region, service: target.index as u16 });
        let Some(stock) = slot.get() else {
            return Err(Problem::new(Kind::NotFound, "The resource you requested does not exist."));
        };
        let fixture = &self.fixtures[target.index];
        let write = |value: &Value| self.document(target.index, operation, value);
        let json = self.writers[target.index].is_none();
        let not_found = self.words[target.index].code(Kind::NotFound);
        Asked { operation, fixture, write: &write, json, region: region.name(), not_found }.page(stock, params)
    }

    /// The events of a cell, where an operation tells of them; how many there are stands in its fixture.
    pub(crate) fn events(
        &self,
        account: AccountIndex,
        region: RegionId,
        service: usize,
        operation: &Operation,
    ) -> Option<Events> {
        let spread = self.fixtures[service].operations[operation.index].lists.first()?.spread;
        Some(Events::of(&self.world, account, region, operation, &spread))
    }

    /// A whole answer.
    fn written(&self, target: &Target, value: &Value) -> Page {
        let bytes = target.operation().map(|operation| self.document(target.index, operation, value));
        Page { bytes: bytes.unwrap_or_default().into(), headers: Vec::new() }
    }

    fn document(&self, service: usize, operation: &Operation, value: &Value) -> Vec<u8> {
        let wire = &self.fixtures[service].operations[operation.index].wire;
        match (&self.writers[service], &wire.raw) {
            (_, Some(member)) => value.get(member).and_then(Value::as_str).unwrap_or_default().as_bytes().to_vec(),
            (Some(writer), None) => writer.document(&operation.name, wire, value),
            (None, None) => value.to_string().into_bytes(),
        }
    }

    /// The stock of a cell; the slot that is handed back is filled.
    pub(crate) fn stock(&self, cell: CellKey) -> Arc<OnceLock<Stock>> {
        let slot = self.stocks.slot(cell);
        slot.get_or_init(|| self.fresh_stock(cell));
        slot
    }

    /// The stock of a cell, made for one look.
    pub(crate) fn fresh_stock(&self, cell: CellKey) -> Stock {
        let index = usize::from(cell.service);
        Stock::new(&StockParts {
            world: &self.world,
            service: &self.services()[index],
            fixture: &self.fixtures[index],
            cell,
            enabled: self.enabled(cell.account),
            rotation: self.live.rotation(cell.account),
        })
    }

    fn reply(&self, request: &Incoming, verdict: Verdict, number: u64) -> Reply {
        let request_id = request_id(number);
        let words = &self.words[verdict.words];
        let mut reply = Reply {
            status: 200,
            content_type: words.content_type(),
            request_id,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        match verdict.result {
            Ok((_, page)) => {
                reply.headers = page.headers;
                reply.body = page.bytes;
            }
            Err(problem) => {
                let dressed = words.dress(&problem, &reply.request_id);
                if words.names_error_in_header() {
                    reply.headers.push(("x-amzn-errortype".to_owned(), dressed.code));
                }
                if let Some(region) = problem.bucket_region {
                    reply.headers.push(("x-amz-bucket-region".to_owned(), region));
                }
                reply.status = dressed.status;
                reply.body = dressed.body.into();
            }
        }
        if request.method == http::Method::HEAD {
            reply.body = Bytes::new();
        }
        reply
    }

    /// The end of a query protocol's answer.
    pub(crate) fn metadata(&self) -> String {
        let id = request_id(self.requests.load(Relaxed));
        format!("<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>")
    }
}

fn action_of(target: &Target) -> String {
    let unknown = || format!("{}:?", target.service.signing_name);
    target.operation().map_or_else(unknown, |operation| operation.action.clone())
}

fn request_id(number: u64) -> String {
    let dice = Dice::new(number).text("request");
    let (high, low) = (dice.value(), dice.number(1).value());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

fn result_of(problem: &Problem) -> CallResult {
    match problem.kind {
        Kind::Throttled => CallResult::Throttled,
        Kind::Denied if problem.message.contains("service control policy") => CallResult::DeniedByScp,
        Kind::Denied => CallResult::Denied,
        Kind::Expired => CallResult::Expired,
        Kind::UnknownToken => CallResult::UnknownToken,
        Kind::BadSignature | Kind::MissingAuth => CallResult::BadSignature,
        Kind::NotFound | Kind::BadPageToken | Kind::Invalid => CallResult::Invalid,
        Kind::UnknownOperation => CallResult::UnknownOperation,
        Kind::Absent => CallResult::Absent,
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
