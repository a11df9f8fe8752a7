//! Who may look, and who may change something. Without a token, whoever is on this machine may look; with one, who has
//! it may look from anywhere, and change a little.

use hyper::{Request, StatusCode, header};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};
use std::{net::SocketAddr, time::Duration};
use subtle::ConstantTimeEq as _;

/// Name of the cookie that stands for the token.
const COOKIE: &str = "fleetscan";
/// How long a wrong token is thought about: guessing takes too long.
pub const WRONG: Duration = Duration::from_secs(1);

/// The rules of one listener.
pub struct Access {
    loopback: bool,
    /// Digests of the token and of the cookie that stands for it.
    token: Option<([u8; 32], String)>,
}

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// It showed the token: it may change something.
    pub may_change: bool,
}

/// Why a request may not even look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Whoever listens beyond the machine must have set a token.
    #[error(
        "this page shows customers' accounts: beyond the machine itself it needs a token. Set FLEETSCAN_TOKEN_FILE, or --listen on 127.0.0.1"
    )]
    NoTokenSet,
    /// The token is missing or wrong.
    #[error("the token is missing or wrong: send `Authorization: Bearer TOKEN`")]
    NoToken,
    /// A page of another host sent the request.
    #[error("this page answers at localhost or the machine's address only")]
    StrangeHost,
    /// A page of another host wants to change something.
    #[error("the request comes from another site")]
    StrangeSite,
}

impl Refusal {
    /// As HTTP says it.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::NoToken => StatusCode::UNAUTHORIZED,
            Refusal::NoTokenSet | Refusal::StrangeHost | Refusal::StrangeSite => StatusCode::FORBIDDEN,
        }
    }
    /// Whether a token would mend it.
    pub fn wants_token(self) -> bool {
        self == Refusal::NoToken
    }
}

impl Access {
    /// Rules of a listener at `address`.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        let token = token.map(|token| {
            let mut salt = [0; 32];
            rand::rng().fill_bytes(&mut salt);
            let cookie = Sha256::new().chain_update(salt).chain_update(token).finalize();
            (digest(token), cookie.iter().map(|byte| format!("{byte:02x}")).collect())
        });
        Self { loopback: address.ip().is_loopback(), token }
    }

    /// What a request may do.
    pub fn of<B>(&self, request: &Request<B>) -> Result<Leave, Refusal> {
        let told = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let Some((token, cookie)) = &self.token else {
            if !self.loopback {
                return Err(Refusal::NoTokenSet);
            }
            // A name that another site had point at this machine would let its scripts read along.
            return match told(header::HOST) {
                Some(host) if is_local(host) => Ok(Leave { may_change: false }),
                _ => Err(Refusal::StrangeHost),
            };
        };
        if let Some(bearer) = told(header::AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer ")) {
            let right: bool = digest(bearer.trim()).ct_eq(token).into();
            return if right { Ok(Leave { may_change: true }) } else { Err(Refusal::NoToken) };
        }
        let given = told(header::COOKIE).into_iter().flat_map(|all| all.split(';'));
        let ours = given.filter_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('=')).next();
        if !ours.is_some_and(|ours| ours.as_bytes().ct_eq(cookie.as_bytes()).into()) {
            return Err(Refusal::NoToken);
        }
        // The cookie is sent by itself, and so whoever wrote the form must be us.
        if !request.method().is_safe() && told(header::HeaderName::from_static("sec-fetch-site")) != Some("same-origin")
        {
            return Err(Refusal::StrangeSite);
        }
        Ok(Leave { may_change: true })
    }

    /// The cookie for a token, where that is right. Who gives a wrong one is to be kept waiting: [`WRONG`].
    pub fn cookie_for(&self, given: &str) -> Option<String> {
        let (token, cookie) = self.token.as_ref()?;
        if bool::from(digest(given.trim()).ct_eq(token)) {
            return Some(format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"));
        }
        None
    }
}

/// Digests are of one length, so that comparing them tells nothing of the token's.
fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let builder = Request::builder().method(method).uri("/");
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).expect("a request")
    }
    fn at(address: &str, token: Option<&str>) -> Access {
        Access::new(address.parse().expect("an address"), token)
    }

    #[test]
    fn without_a_token_only_this_machine_may_look_and_nobody_may_change() {
        let here = at("127.0.0.1:80", None);
        for host in ["localhost:9464", "127.0.0.1:9464", "[::1]:9464", "localhost"] {
            assert_eq!(here.of(&asked("GET", &[("host", host)])), Ok(Leave { may_change: false }), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "127.0.0.1.evil.example"] {
            assert_eq!(here.of(&asked("GET", &[("host", host)])), Err(Refusal::StrangeHost), "{host}");
        }
        assert_eq!(here.of(&asked("GET", &[])), Err(Refusal::StrangeHost));
        assert_eq!(at("0.0.0.0:80", None).of(&asked("GET", &[("host", "localhost")])), Err(Refusal::NoTokenSet));
    }

    #[test]
    fn the_token_lets_in_by_header_and_by_cookie() {
        let access = at("0.0.0.0:80", Some("a-token-of-some-length"));
        let leave = Ok(Leave { may_change: true });
        assert_eq!(access.of(&asked("POST", &[("authorization", "Bearer a-token-of-some-length")])), leave);
        for wrong in ["Bearer a-token-of-some-lengtH", "Bearer ", "Basic a-token-of-some-length", "Bearer a"] {
            assert_eq!(access.of(&asked("GET", &[("authorization", wrong)])), Err(Refusal::NoToken), "{wrong}");
        }
        assert_eq!(access.cookie_for("wrong"), None);
        let cookie = access.cookie_for("a-token-of-some-length").expect("a cookie");
        assert!(!cookie.contains("a-token-of"), "{cookie}");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
        let sent = format!("other=1; {}", cookie.split(';').next().expect("its value"));
        assert_eq!(access.of(&asked("GET", &[("cookie", &sent)])), leave);
        assert_eq!(access.of(&asked("POST", &[("cookie", &sent)])), Err(Refusal::StrangeSite));
        let cross = [("cookie", sent.as_str()), ("sec-fetch-site", "cross-site")];
        assert_eq!(access.of(&asked("POST", &cross)), Err(Refusal::StrangeSite));
        let ours = [("cookie", sent.as_str()), ("sec-fetch-site", "same-origin")];
        assert_eq!(access.of(&asked("POST", &ours)), leave);
        assert_eq!(access.of(&asked("GET", &[("cookie", "fleetscan=")])), Err(Refusal::NoToken));
    }
}
