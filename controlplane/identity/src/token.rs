//! Join tokens: `pal1.<id>.<secret>.<pin>`, single use, short-lived.
//!
//! The control plane keeps only a [`TokenRecord`], with a hash of the secret. Spending a token is a compare-and-swap of
//! its record: [`TokenRecord::spend`] judges and gives the record to write.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Name, Pin};

/// The version every token begins with.
const VERSION: &str = "pal1";
/// The longest token read.
const MAX_TOKEN: usize = 128;

/// A token as its holder has it. Secret; `Debug` shows only the id.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: [u8; 16],
    pin: Pin,
}

/// What the control plane keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRecord {
    /// Its public id: twelve hexadecimal digits.
    pub id: String,
    /// SHA-256 of the secret, base64url.
    pub secret_hash: String,
    /// The only node it is for; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// The node that spent it; none: unspent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
}

/// Why a token was refused. A stranger should be told only that it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is not a token.
    #[error("not a join token: pal1.<id>.<secret>.<pin>")]
    Malformed,
    /// The system gave no randomness.
    #[error("the system gave no randomness")]
    NoRandomness,
    /// The secret is not the one the record was made with.
    #[error("the token's secret is wrong")]
    WrongSecret,
    /// The token has ended.
    #[error("the token has expired")]
    Expired,
    /// The token was spent.
    #[error("the token was used by node `{by}`")]
    Used {
        /// Who spent it.
        by: String,
    },
    /// The token is for another node.
    #[error("the token is for node `{bound}`, not for `{asked}`")]
    WrongNode {
        /// Whom it is for.
        bound: String,
        /// Who came.
        asked: Name,
    },
}

// === impl JoinToken ===

impl JoinToken {
    /// Makes a token and the record to keep of it.
    ///
    /// # Errors
    /// [`TokenError::NoRandomness`].
    pub fn new(
        pin: Pin,
        node_name: Option<&Name>,
        lifetime: SignedDuration,
        now: Timestamp,
    ) -> Result<(Self, TokenRecord), TokenError> {
        let (mut id, mut secret) = ([0; 6], [0; 16]);
        getrandom::fill(&mut id).map_err(|_| TokenError::NoRandomness)?;
        getrandom::fill(&mut secret).map_err(|_| TokenError::NoRandomness)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let record = TokenRecord {
            id: id.clone(),
            secret_hash: hash(&secret),
            node_name: node_name.map(Name::to_string),
            created: now.as_second(),
            expires: now.as_second().saturating_add(lifetime.as_secs()),
            used_by: None,
        };
        Ok((Self { id, secret, pin }, record))
    }

    /// Its public id, under which the record is kept.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The pin of the authority that made it.
    #[must_use]
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// The whole token as text. Secret.
    #[must_use]
    pub fn expose(&self) -> String {
        let secret = URL_SAFE_NO_PAD.encode(self.secret);
        format!("{VERSION}.{}.{secret}.{}", self.id, self.pin)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let parts: Vec<_> = text.split('.').collect();
        let [VERSION, id, secret, pin] = parts[..] else {
            return Err(TokenError::Malformed);
        };
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.len() != 12 || !id.bytes().all(digit) {
            return Err(TokenError::Malformed);
        }
        let secret = URL_SAFE_NO_PAD.decode(secret);
        let secret = secret.map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            id: id.to_owned(),
            secret: secret.try_into().map_err(|_| TokenError::Malformed)?,
            pin: pin.parse().map_err(|_| TokenError::Malformed)?,
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.id)
    }
}

// === impl TokenRecord ===

impl TokenRecord {
    /// Judges whether `node` may spend `token` now; gives the record to write, compare-and-swap, over this one.
    ///
    /// # Errors
    /// Every [`TokenError`] but the first two; the secret is judged first, so nothing else is told without it.
    pub fn spend(
        &self,
        token: &JoinToken,
        node: &Name,
        now: Timestamp,
    ) -> Result<Self, TokenError> {
        if token.id != self.id || !same(&hash(&token.secret), &self.secret_hash) {
            return Err(TokenError::WrongSecret);
        }
        if let Some(by) = &self.used_by {
            return Err(TokenError::Used { by: by.clone() });
        }
        if self.has_expired(now) {
            return Err(TokenError::Expired);
        }
        match &self.node_name {
            Some(bound) if bound != node.as_str() => Err(TokenError::WrongNode {
                bound: bound.clone(),
                asked: node.clone(),
            }),
            Some(_) | None => Ok(Self {
                used_by: Some(node.to_string()),
                ..self.clone()
            }),
        }
    }

    /// Whether the token has ended.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        now.as_second() >= self.expires
    }
}

fn hash(secret: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

/// Equality in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let differ = |differ, (a, b): (u8, u8)| black_box(differ | (a ^ b));
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, differ) == 0
}
