//! STS: AssumeRole and GetCallerIdentity, with the answers that AWS gives to each mistake.

use crate::{
    dice::Dice,
    engine::{Caller, Engine},
    live::HubBreakage,
    persona::Fate,
    policy::SessionPolicy,
    problem::{Kind, Problem},
    request::Params,
    session::Session,
    world::{AccountIndex, HUB_ACCOUNT, HUB_ARN, HUB_EXTERNAL_ID, HUB_INDEX, HUB_ROLE_ARN, ROLE},
    xml::escape,
};
use jiff::Timestamp;

/// The longest that the role may be assumed for.
const MAX_SESSION: i64 = 3_600;
/// Characters of an inline policy.
const MAX_POLICY: usize = 2_048;
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The account that an AssumeRole names, if it is one of ours.
pub(crate) fn target(engine: &Engine, params: &Params) -> Option<AccountIndex> {
    let arn = params.one("RoleArn")?;
    let fields: Vec<&str> = arn.split(':').collect();
    engine.world.account(fields.get(4)?)
}

/// Answers AssumeRole: the document.
pub(crate) fn assume_role(engine: &Engine, caller: &Caller, params: &Params, now_ms: i64) -> Result<String, Problem> {
    let wanted = Wanted::read(params)?;
    let denied = |suffix: &str| {
        let (who, arn) = (caller.arn(engine), &wanted.role_arn);
        let text = format!("User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}{suffix}");
        Problem::new(Kind::Denied, text)
    };
    match engine.live.hub() {
        HubBreakage::PolicyLost => {
            return Err(denied(" because no identity-based policy allows the sts:AssumeRole action"));
        }
        HubBreakage::Scp => return Err(denied(" with an explicit deny in a service control policy")),
        HubBreakage::Mistrusted => return Err(denied("")),
        HubBreakage::RoleLost if wanted.role_arn == HUB_ROLE_ARN => return Err(denied("")),
        HubBreakage::RoleOnly if matches!(caller, Caller::Hub) && wanted.role_arn != HUB_ROLE_ARN => {
            return Err(denied(""));
        }
        _ => {}
    }
    if wanted.role_arn == HUB_ROLE_ARN && matches!(caller, Caller::Hub) {
        return hub_role(engine, &wanted, now_ms).ok_or_else(|| denied(""));
    }
    let account = target(engine, params).filter(|account| wanted.role_arn == engine.world.role_arn(*account));
    let Some(account) = account.filter(|_| caller.is_hub()) else { return Err(denied("")) };
    let changes = engine.live.changes(account).unwrap_or_default();
    if changes.sts_off {
        let text = format!(
            "STS is not activated in this region for account:{}. Your account administrator can activate STS in this region using the IAM Console.",
            engine.world.id(account)
        );
        return Err(Problem::coded(Kind::Denied, "RegionDisabledException", text));
    }
    let expected = engine.world.external_id(account, engine.live.rotation(account));
    let fits = changes.open_trust || wanted.external_id.as_deref() == Some(expected.as_str());
    if engine.live.is_deleted(account) || !fits || now_ms < changes.settles_at {
        return Err(denied(""));
    }
    if wanted.seconds > MAX_SESSION {
        let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(Problem::new(Kind::Invalid, text));
    }
    let policy = wanted.policy.map_or(0, |(name, policy)| {
        engine.policies.keep(name, policy);
        name
    });
    let session = Session {
        account,
        generation: engine.live.generation(account),
        issued: now_ms,
        expires: now_ms + wanted.seconds * 1_000,
        policy,
        name: wanted.session_name,
    };
    Ok(issued(engine, &session))
}

/// The hub's own role, for who knows its ExternalId.
fn hub_role(engine: &Engine, wanted: &Wanted, now_ms: i64) -> Option<String> {
    if wanted.external_id.as_deref() != Some(HUB_EXTERNAL_ID) || wanted.seconds > MAX_SESSION {
        return None;
    }
    let session = Session {
        account: HUB_INDEX,
        generation: 0,
        issued: now_ms,
        expires: now_ms + wanted.seconds * 1_000,
        policy: 0,
        name: wanted.session_name.clone(),
    };
    Some(issued(engine, &session))
}

fn issued(engine: &Engine, session: &Session) -> String {
    let credentials = engine.mint.issue(session);
    let expiration = Timestamp::from_millisecond(session.expires).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ");
    let caller = match session.account {
        HUB_INDEX => Caller::HubRole(session.clone()),
        _ => Caller::Session(session.clone()),
    };
    let arn = caller.arn(engine);
    let id = role_id(engine, session.account);
    let (access_key, secret, token) = (credentials.access_key, credentials.secret, credentials.token);
    format!(
        "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult><Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>{id}:{name}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser><PackedPolicySize>{packed}</PackedPolicySize></AssumeRoleResult>{metadata}</AssumeRoleResponse>",
        name = session.name,
        packed = if session.policy == 0 { 0 } else { 40 },
        metadata = engine.metadata(),
    )
}

/// Answers GetCallerIdentity.
pub(crate) fn caller_identity(engine: &Engine, caller: &Caller) -> String {
    let (user, account) = match caller {
        Caller::Hub => ("AIDASIMULATEDHUBUSERX".to_owned(), HUB_ACCOUNT.to_owned()),
        Caller::HubRole(session) => (format!("AROASIMULATEDHUBROLEX:{}", session.name), HUB_ACCOUNT.to_owned()),
        Caller::Session(session) => {
            (format!("{}:{}", role_id(engine, session.account), session.name), engine.world.id(session.account))
        }
    };
    let mut arn = String::new();
    escape(&mut arn, &caller.arn(engine));
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{arn}</Arn><UserId>{user}</UserId><Account>{account}</Account></GetCallerIdentityResult>{}</GetCallerIdentityResponse>",
        engine.metadata()
    )
}

fn role_id(engine: &Engine, account: AccountIndex) -> String {
    if account == HUB_INDEX {
        return "AROASIMULATEDHUBROLEX".to_owned();
    }
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    format!("AROA{}", engine.world.dice(account).text("role id").letters(LETTERS, 17))
}

impl Caller {
    /// Who calls.
    pub(crate) fn arn(&self, engine: &Engine) -> String {
        match self {
            Caller::Hub => HUB_ARN.to_owned(),
            Caller::HubRole(session) => {
                format!("arn:aws:sts::{HUB_ACCOUNT}:assumed-role/fleetscan-hub-role/{}", session.name)
            }
            Caller::Session(session) => {
                format!("arn:aws:sts::{}:assumed-role/{ROLE}/{}", engine.world.id(session.account), session.name)
            }
        }
    }
}

/// The parameters of AssumeRole, checked by STS's own rules (STS API reference, AssumeRole).
struct Wanted {
    role_arn: String,
    session_name: String,
    external_id: Option<String>,
    seconds: i64,
    policy: Option<(u64, SessionPolicy)>,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, Problem> {
        let invalid = |text: String| Problem::new(Kind::Invalid, text);
        let text = |name: &str| params.one(name).map(std::borrow::Cow::into_owned);
        let need = |name: &str| {
            text(name).ok_or_else(|| {
                invalid(format!("1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"))
            })
        };
        let (role_arn, session_name) = (need("RoleArn")?, need("RoleSessionName")?);
        if !fits(&session_name, 2..=64, "_+=,.@-") {
            return Err(invalid(format!(
                "1 validation error detected: Value '{session_name}' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"
            )));
        }
        let external_id = text("ExternalId");
        if external_id.as_deref().is_some_and(|id| !fits(id, 2..=1_224, "_+=,.@:/-")) {
            return Err(invalid("1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@:\\/-]*".to_owned()));
        }
        let seconds = text("DurationSeconds").map_or(Ok(MAX_SESSION), |text| text.parse::<i64>());
        let seconds = seconds.ok().filter(|seconds| (900..=43_200).contains(seconds)).ok_or_else(|| {
            invalid("1 validation error detected: Value at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200".to_owned())
        })?;
        let policy = text("Policy").map(|text| inline_policy(&text)).transpose()?;
        Ok(Self { role_arn, session_name, external_id, seconds, policy })
    }
}

fn inline_policy(text: &str) -> Result<(u64, SessionPolicy), Problem> {
    if text.chars().count() > MAX_POLICY {
        let message = "Packed policy consumes more than 100% of allotted space, please use smaller policy.";
        return Err(Problem::coded(Kind::Invalid, "PackedPolicyTooLarge", message));
    }
    let policy = SessionPolicy::parse(text)
        .ok_or_else(|| Problem::coded(Kind::Invalid, "MalformedPolicyDocument", "Syntax errors in policy."))?;
    // Zero means that there is none.
    Ok((Dice::new(0).text(text).value().max(1), policy))
}

fn fits(text: &str, length: std::ops::RangeInclusive<usize>, beside: &str) -> bool {
    length.contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || beside.contains(c))
}

/// An account whose accounts file never had the role's ExternalId begins with another one.
pub(crate) fn first_rotation(fate: Fate) -> u32 {
    if fate == Fate::NeverFitted { 1 } else { 0 }
}
