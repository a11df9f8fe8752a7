//! Session credentials that carry their own proof: nothing about them is stored.

use crate::{dice::Dice, world::AccountIndex};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) account: AccountIndex,
    /// Of the role that was assumed.
    pub(crate) generation: u32,
    /// Milliseconds since 1970.
    pub(crate) issued: i64,
    pub(crate) expires: i64,
    /// Names the inline policy; 0: none.
    pub(crate) policy: u64,
    pub(crate) name: String,
}

/// Access key id, secret and token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// Issues session credentials and recognises them.
#[derive(Debug)]
pub(crate) struct Mint {
    key: [u8; 32],
}

const VERSION: u8 = 1;
const PROOF: usize = 16;
const FIXED: usize = 1 + 4 + 4 + 8 + 8 + 8;

impl Mint {
    pub(crate) fn new(seed: u64) -> Self {
        let dice = Dice::new(seed).text("mint");
        let mut key = [0; 32];
        for (n, chunk) in key.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&dice.number(n as u64).value().to_le_bytes());
        }
        Self { key }
    }

    pub(crate) fn issue(&self, session: &Session) -> Issued {
        let mut bytes = vec![VERSION];
        bytes.extend(session.account.to_le_bytes());
        bytes.extend(session.generation.to_le_bytes());
        bytes.extend(session.issued.to_le_bytes());
        bytes.extend(session.expires.to_le_bytes());
        bytes.extend(session.policy.to_le_bytes());
        bytes.extend(session.name.as_bytes());
        let proof = hmac(&self.key, &[&bytes]);
        bytes.extend(&proof[..PROOF]);
        let (access_key, secret) = self.keys_of(&proof);
        Issued { access_key, secret, token: STANDARD.encode(bytes) }
    }

    /// The session of a token and its secret; `None` for a token that was never issued, or to another access key.
    pub(crate) fn read(&self, access_key: &str, token: &str) -> Option<(Session, String)> {
        let bytes = STANDARD.decode(token).ok()?;
        let (body, claimed) = bytes.split_at(bytes.len().checked_sub(PROOF)?);
        let proof = hmac(&self.key, &[body]);
        if body.len() < FIXED || body[0] != VERSION || claimed != &proof[..PROOF] {
            return None;
        }
        let (expected, secret) = self.keys_of(&proof);
        let word = |at: usize| body[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let half = |at: usize| body[at..at + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
        let session = Session {
            account: half(1),
            generation: half(5),
            issued: word(9) as i64,
            expires: word(17) as i64,
            policy: word(25),
            name: String::from_utf8(body[FIXED..].to_vec()).ok()?,
        };
        (expected == access_key).then_some((session, secret))
    }

    fn keys_of(&self, proof: &[u8; 32]) -> (String, String) {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let letters = proof[PROOF..].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
        let secret = hmac(&self.key, &[b"secret", proof]);
        (format!("ASIA{}", letters.collect::<String>()), STANDARD.encode(&secret[..30]))
    }
}

/// HMAC-SHA256 of the parts, one after the other.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length; the error is for algorithms that do not.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session { account: 7, generation: 2, issued: 5, expires: 900_005, policy: 9, name: "S-1".into() }
    }

    #[test]
    fn a_token_leads_back_to_its_session_and_nothing_else_does() {
        let mint = Mint::new(1);
        let issued = mint.issue(&session());
        let (read, secret) = mint.read(&issued.access_key, &issued.token).expect("its own token");
        assert_eq!((read, secret), (session(), issued.secret));
        assert!(issued.access_key.starts_with("ASIA") && issued.access_key.len() == 20);
        assert_eq!(mint.read("ASIAOTHER", &issued.token), None);
        assert_eq!(Mint::new(2).read(&issued.access_key, &issued.token), None);
        let mut forged = STANDARD.decode(&issued.token).expect("base64");
        forged[1] ^= 1;
        assert_eq!(mint.read(&issued.access_key, &STANDARD.encode(forged)), None);
        assert_eq!(mint.read(&issued.access_key, "!"), None);
    }
}
