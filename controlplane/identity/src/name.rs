//! Names and the identity a client certificate states, as a SPIFFE URI.
//!
//! `spiffe://palisade/node/<name>` and `spiffe://palisade/user/<role>/<name>`; nothing else is an identity.

use std::fmt;
use std::str::FromStr;

/// The trust domain of every identity.
const DOMAIN: &str = "spiffe://palisade/";
/// The longest name: that of a DNS name.
const MAX_NAME: usize = 253;

/// The name of a node or a user: 1 to 253 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
// INVARIANT: nothing in it has a meaning in a URI, a path or a log line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The node daemon of one host.
    Node(Name),
    /// A person or an orchestrator.
    User {
        /// Its name.
        name: Name,
        /// What it may do.
        role: Role,
    },
}

/// What a user may do; each is enforced by the control plane, and deny is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Changes resources.
    Editor,
    /// Reads resources and state.
    Viewer,
    /// Reads what a viewer reads, and the audit log.
    Auditor,
    /// Uploads plugins.
    PluginAuthor,
}

/// Why a text is not a name, a role or an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a name.
    #[error(
        "`{text}` is not a name: 1 to 253 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
    )]
    Name {
        /// What was given.
        text: String,
    },
    /// Not a role.
    #[error("`{text}` is not a role: admin, editor, viewer, auditor or plugin-author")]
    Role {
        /// What was given.
        text: String,
    },
    /// Not the URI of an identity.
    #[error("`{text}` is not the URI of a palisade node or user")]
    Uri {
        /// What was given.
        text: String,
    },
}

// === impl Name ===

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        if begins && text.len() <= MAX_NAME && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Name {
                text: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Role ===

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Admin,
        Self::Editor,
        Self::Viewer,
        Self::Auditor,
        Self::PluginAuthor,
    ];

    /// The role as text, as in a certificate.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::Auditor => "auditor",
            Self::PluginAuthor => "plugin-author",
        }
    }
}

impl FromStr for Role {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| NameError::Role {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Identity ===

impl Identity {
    /// The identity as it stands in a certificate.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Node(name) => format!("{DOMAIN}node/{name}"),
            Self::User { name, role } => format!("{DOMAIN}user/{role}/{name}"),
        }
    }

    /// Reads [`Identity::uri`] back; nothing else passes.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn from_uri(uri: &str) -> Result<Self, NameError> {
        let refused = || NameError::Uri {
            text: uri.to_owned(),
        };
        let path = uri.strip_prefix(DOMAIN).ok_or_else(refused)?;
        let (kind, rest) = path.split_once('/').ok_or_else(refused)?;
        match kind {
            "node" => Ok(Self::Node(rest.parse()?)),
            "user" => {
                let (role, name) = rest.split_once('/').ok_or_else(refused)?;
                Ok(Self::User {
                    name: name.parse()?,
                    role: role.parse()?,
                })
            }
            _ => Err(refused()),
        }
    }
}

/// For people and logs: `node web-1`, `user alice (admin)`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::User { name, role } => write!(f, "user {name} ({role})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back_from_their_uri() {
        let name: Name = "web-1.example".parse().expect("a name");
        let mut identities = vec![Identity::Node(name.clone())];
        for role in Role::ALL {
            let name = name.clone();
            identities.push(Identity::User { name, role });
        }
        for identity in identities {
            assert_eq!(Identity::from_uri(&identity.uri()), Ok(identity));
        }
    }

    #[test]
    fn what_is_not_exactly_an_identity_is_refused() {
        for uri in [
            "",
            "spiffe://palisade/",
            "spiffe://palisade/node/",
            "spiffe://palisade/node/a/b",
            "spiffe://palisade/node/../user/admin/x",
            "spiffe://palisade/node/a?role=admin",
            "spiffe://palisade/node/a%2fb",
            "spiffe://palisade/user/alice",
            "spiffe://palisade/user/root/alice",
            "spiffe://palisade/user/admin/",
            "spiffe://palisade/user/admin/a/b",
            "spiffe://palisade.example/node/a",
            "SPIFFE://palisade/node/a",
            " spiffe://palisade/node/a",
            "https://palisade/node/a",
        ] {
            assert!(Identity::from_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn names_that_could_mean_something_elsewhere_are_refused() {
        let long = "a".repeat(254);
        for text in ["", ".", "..", "-a", "a b", "a/b", "a\n", "ä", long.as_str()] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        assert!("a".repeat(253).parse::<Name>().is_ok());
    }
}
