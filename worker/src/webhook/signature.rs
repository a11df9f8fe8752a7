//! Signatures of webhooks after the Standard Webhooks specification (github.com/standard-webhooks/standard-webhooks,
//! `spec/standard-webhooks.md`): version 1, HMAC-SHA256 over `id.timestamp.body`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
/// Bytes that a secret may have, by the specification.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets at a time: the new one, the old one, and one to spare.
const SECRETS: usize = 3;

/// The secrets that a receiver knows: while one replaces another, both sign.
pub(super) struct Signer(Vec<Zeroizing<Vec<u8>>>);

impl Signer {
    /// Reads secrets, `whsec_` and base64 each, one a line.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "a secret is whsec_ and 24 to 64 random bytes in base64, one a line: make one with \
            `echo whsec_$(openssl rand -base64 32)`";
        let secrets: Vec<_> = text
            .split_whitespace()
            .map(|secret| {
                let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
                bytes.filter(|bytes| BYTES.contains(&bytes.len())).map(Zeroizing::new).ok_or(wrong)
            })
            .collect::<Result<_, _>>()?;
        match secrets.len() {
            0 => Err("there is no secret in it"),
            1..=SECRETS => Ok(Self(secrets)),
            _ => Err("more than three secrets: leave those out that the receiver no longer needs"),
        }
    }

    /// The header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> Result<String, String> {
        let one = |secret: &Zeroizing<Vec<u8>>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| error.to_string())?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        };
        let all: Result<Vec<String>, String> = self.0.iter().map(one).collect();
        Ok(all?.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_specifications_example_is_signed_as_it_says() {
        // From the test of the specification's own libraries.
        let signed = Signer::parse(SECRET).expect("a secret").sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.expect("signed"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let both = Signer::parse(&format!("{SECRET}\n{PREFIX}{}\n", STANDARD.encode([7; 32]))).expect("two secrets");
        let signed = both.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let signed = signed.expect("signed");
        assert!(signed.starts_with("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,"), "{signed}");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        for text in ["", "hunter2", "whsec_hunter2!", "whsec_c2hvcnQ="] {
            let why = Signer::parse(text).err().expect(text);
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
