//! Grants under lock and key: AES-256-GCM around role ARN and ExternalId, and the account's id as associated data, so
//! that a grant that was copied to another account does not open.

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fleetscan_proto::{Account, AccountId, AccountRegistry, Grant, Grants, SealedGrant, Secret, StoreError, Terms};
use sha2::{Digest as _, Sha256};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// Tells this use of a key from any other.
const PURPOSE: &[u8] = b"fleetscan grant 1";

/// What is wrong with a key, or with what it was to open. Never repeats either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String);

/// The keys of a registry: the first one seals, and each opens what it sealed.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<(String, Aes256Gcm)>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl Keyring {
    /// Reads keys of 32 bytes, base64, separated by white space or commas.
    ///
    /// # Errors
    /// A sentence that says what to mend.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        let keys = words.enumerate().map(|(at, word)| key(at + 1, word)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(KeyError("there is no key: write 32 random bytes, base64 (`openssl rand -base64 32`)".into()));
        }
        Ok(Self { keys })
    }

    /// Names the key that seals; tells nothing of it.
    pub fn sealing_key(&self) -> &str {
        &self.keys[0].0
    }

    /// Seals a grant for one account.
    pub fn seal(&self, account: &AccountId, grant: &Grant) -> Result<SealedGrant, KeyError> {
        let (id, cipher) = &self.keys[0];
        let text = Zeroizing::new(
            serde_json::to_string(&[grant.role_arn.expose(), grant.external_id.expose()])
                .map_err(|_| KeyError("the grant cannot be written down".into()))?,
        );
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let sealed = cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: text.as_bytes(), aad: &purpose(account) })
            .map_err(|_| KeyError("the grant cannot be sealed".into()))?;
        Ok(SealedGrant { key: id.clone(), sealed: STANDARD.encode([nonce.as_slice(), &sealed].concat()) })
    }

    /// Opens an account's grant.
    ///
    /// # Errors
    /// When none of the keys sealed it, or when it was changed or moved since.
    pub fn open(&self, account: &AccountId, grant: &SealedGrant) -> Result<Grant, KeyError> {
        let Some((_, cipher)) = self.keys.iter().find(|(id, _)| *id == grant.key) else {
            let ours: Vec<&str> = self.keys.iter().map(|(id, _)| id.as_str()).collect();
            return Err(KeyError(format!(
                "the grant of account {account} is sealed with key {}, and FLEETSCAN_KEY has {}: add that key",
                grant.key,
                ours.join(", ")
            )));
        };
        let spoiled = || KeyError(format!("the grant of account {account} was changed since it was sealed"));
        let bytes = STANDARD.decode(&grant.sealed).map_err(|_| spoiled())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(spoiled)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| spoiled())?;
        let text = cipher
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: &purpose(account) })
            .map(Zeroizing::new)
            .map_err(|_| spoiled())?;
        let [role_arn, external_id]: [Secret; 2] = serde_json::from_slice(&text).map_err(|_| spoiled())?;
        Ok(Grant { role_arn, external_id })
    }
}

fn key(at: usize, word: &str) -> Result<(String, Aes256Gcm), KeyError> {
    let wrong =
        |why: String| KeyError(format!("key {at} {why}: write 32 random bytes, base64 (`openssl rand -base64 32`)"));
    let bytes = Zeroizing::new(STANDARD.decode(word).map_err(|_| wrong("is not base64".into()))?);
    if bytes.len() != KEY_BYTES {
        return Err(wrong(format!("has {} bytes", bytes.len())));
    }
    let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| wrong("does not fit".into()))?;
    let mut name = Sha256::new();
    name.update(b"fleetscan key id");
    name.update(bytes.as_slice());
    let id = name.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Ok((id, cipher))
}

fn purpose(account: &AccountId) -> Vec<u8> {
    [PURPOSE, b"\0", account.as_str().as_bytes()].concat()
}

/// The grants of a registry, opened as they are needed, and kept nowhere.
#[derive(Clone)]
pub struct SealedGrants {
    registry: Arc<dyn AccountRegistry>,
    keys: Keyring,
}

impl SealedGrants {
    /// Grants of `registry`, which these keys open.
    pub fn new(registry: Arc<dyn AccountRegistry>, keys: Keyring) -> Self {
        Self { registry, keys }
    }
}

#[async_trait]
impl Grants for SealedGrants {
    async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        let Some(found) = self.registry.registered(id).await? else { return Ok(None) };
        let Some(sealed) = &found.grant else { return Ok(None) };
        let grant = self.keys.open(id, sealed).map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Some(Account {
            id: found.id,
            grant,
            name: found.name,
            customer: found.customer,
            regions: found.regions,
            cloudtrail_bucket: found.cloudtrail_bucket,
        }))
    }

    async fn terms(&self, id: &AccountId) -> Result<Terms, StoreError> {
        let found = self.registry.registered(id).await?;
        Ok(found.map_or_else(Terms::default, |account| Terms {
            told: account.told.map(|told| told.operations),
            session_policy: !account.no_session_policy,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const NEW: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn id(text: &str) -> AccountId {
        text.parse().expect("id")
    }
    fn grant() -> Grant {
        Grant {
            role_arn: Secret::new("arn:aws:iam::111122223333:role/R"),
            external_id: Secret::new("an-external-id-of-some-length"),
        }
    }

    #[test]
    fn what_is_sealed_opens_for_its_account_alone() {
        let keys = Keyring::parse(NEW).expect("a key");
        let sealed = keys.seal(&id("111122223333"), &grant()).expect("sealed");
        assert_eq!(keys.open(&id("111122223333"), &sealed), Ok(grant()));
        assert!(keys.open(&id("444455556666"), &sealed).is_err(), "moved to another account");
        let mut changed = sealed.clone();
        let at = changed.sealed.len() / 2;
        let other = if changed.sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
        changed.sealed.replace_range(at..=at, other);
        assert!(keys.open(&id("111122223333"), &changed).is_err(), "changed");
        assert_ne!(keys.seal(&id("111122223333"), &grant()).expect("sealed").sealed, sealed.sealed, "a nonce each");
    }

    #[test]
    fn keys_are_rotated_while_both_are_there() {
        let old = Keyring::parse(OLD).expect("a key");
        let sealed = old.seal(&id("111122223333"), &grant()).expect("sealed");
        let both = Keyring::parse(&format!("{NEW}\n{OLD}\n")).expect("two keys");
        assert_eq!(both.open(&id("111122223333"), &sealed), Ok(grant()));
        assert_ne!(both.seal(&id("111122223333"), &grant()).expect("sealed").key, sealed.key);
        let error = Keyring::parse(NEW).expect("a key").open(&id("111122223333"), &sealed).expect_err("not its key");
        assert!(error.to_string().contains(&sealed.key), "{error}");
    }

    #[test]
    fn a_wrong_key_is_named_and_not_shown() {
        for (text, says) in [("", "no key"), ("c2hvcnQ=", "5 bytes"), ("not base64!", "not base64")] {
            let error = Keyring::parse(text).expect_err(text).to_string();
            assert!(error.contains(says) && error.contains("openssl"), "{error}");
        }
        let shown = format!("{:?}", Keyring::parse(NEW).expect("a key"));
        assert!(!shown.contains("AQEB"), "{shown}");
    }
}
