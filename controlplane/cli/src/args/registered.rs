//! The grammar of what orchestrators register.

use super::Format;
use clap::{Subcommand, ValueEnum};

/// What to do with namespaces.
#[derive(Subcommand)]
pub(crate) enum Namespace {
    /// Register a namespace, or replace what it was registered with; prints the profile that its endpoints name.
    Create {
        /// At most 63 of a-z, 0-9 and -.
        name: String,
        /// Labels as `k=v,…` or as a JSON object.
        #[arg(long, default_value = "")]
        labels: String,
        /// What becomes of traffic of its endpoints that no policy selects.
        #[arg(long, value_enum, default_value = "allow")]
        default: NamespaceDefault,
    },
    /// Show namespaces.
    List {
        /// Output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Delete a namespace with its identities; what still names them is denied whatever no policy allows.
    Delete {
        /// Its name.
        name: String,
    },
}

/// What becomes of traffic that no policy selects.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamespaceDefault {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
}

/// What to do with identities.
#[derive(Subcommand)]
pub(crate) enum Identity {
    /// Register an identity in a namespace, or replace what it was registered with; prints the profile that its endpoints name.
    Create {
        /// The namespace, which must be registered, and the name.
        #[arg(value_name = "NAMESPACE/NAME", value_parser = identity)]
        id: (String, String),
        /// Labels as `k=v,…` or as a JSON object.
        #[arg(long, default_value = "")]
        labels: String,
    },
    /// Show identities.
    List {
        /// Only of this namespace.
        #[arg(short, long, value_name = "NS", default_value = "")]
        namespace: String,
        /// Output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Delete an identity; what still names it is denied whatever no policy allows.
    Delete {
        /// Its namespace and name.
        #[arg(value_name = "NAMESPACE/NAME", value_parser = identity)]
        id: (String, String),
    },
}

fn identity(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(format!("`{text}` is not an identity: write NAMESPACE/NAME")),
    }
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn an_identity_has_a_namespace() {
        let parts = ("shop".to_owned(), "web.front".to_owned());
        assert_eq!(identity("shop/web.front"), Ok(parts));
        for text in ["web", "/web", "shop/", ""] {
            assert!(identity(text).is_err(), "{text}");
        }
    }
}
