//! Names and label keys: what may be called what (Kubernetes' rules, as Calico applies them).

use std::borrow::Borrow;
use std::fmt;

/// A DNS-1123 subdomain of at most 253 characters: resources, namespaces, nodes, tiers, profiles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A Linux interface name: 1 to 15 of `[A-Za-z0-9_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Box<str>);

/// A Kubernetes port name: at most 15 of `[a-z0-9-]`, with a letter, no `-` at an edge or beside another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName(Box<str>);

macro_rules! text_newtype {
    ($name:ident, $test:path) => {
        impl $name {
            /// The name, or `None` where the text may not be one.
            pub fn new(text: &str) -> Option<Self> {
                $test(text).then(|| Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    };
}

text_newtype!(Name, is_subdomain);
text_newtype!(InterfaceName, is_interface);
text_newtype!(PortName, is_port_name);

/// Dot-separated DNS-1123 labels, 253 characters in all.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_lower_label)
}

/// One DNS-1123 label of at most 63 characters, as tiers are named.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_lower_label(text)
}

/// A policy: one label, or two joined by exactly one dot, 253 characters in all.
pub(crate) fn is_policy_name(text: &str) -> bool {
    is_subdomain(text) && text.split('.').count() <= 2
}

/// A policy that mirrors one of Kubernetes or OpenStack: its prefix, then a subdomain.
pub(crate) fn is_mirrored_policy_name(text: &str) -> bool {
    let mut prefixes = ["knp.default.", "ossg.default."].iter();
    is_subdomain(text) && prefixes.any(|prefix| text.starts_with(prefix))
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
fn is_lower_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_interface(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    // The kernel has no interface of the names of directories.
    let path = matches!(text, "." | "..");
    (1..=15).contains(&text.len()) && text.bytes().all(inside) && !path
}

fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_lower_label(text)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
}

/// `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`, 1 to 63 characters.
fn is_qualified_part(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let edges = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= 63
        && text.bytes().all(inside)
        && edges
            .iter()
            .all(|edge| edge.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

/// A label key: optional `prefix/`, then a name.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified_part(name),
        None => is_qualified_part(text),
    }
}

/// A label value: empty, or like the name part of a key.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified_part(text)
}
