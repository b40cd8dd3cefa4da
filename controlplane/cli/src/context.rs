//! The context file: which server, and who we are.

use crate::failure::Failure;
use serde::Deserialize;
use std::path::Path;

/// A server and the credentials for it, all in one file of mode 0600.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `HOST:PORT` of the API.
    pub(crate) server: String,
    /// PEM of the authority that signs the server's certificate.
    pub(crate) ca: String,
    /// PEM of our certificate.
    pub(crate) certificate: String,
    /// PEM of our key.
    pub(crate) key: String,
}

impl Context {
    /// Reads the file; `None` fails with the ways to name one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Err(Failure::invalid("no context given").hint(
                "name one with --context FILE or PALISADE_CONTEXT; the control plane writes admin.yaml into its data folder at the first start",
            ));
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::error(format!(
                "cannot read the context `{}`: {error}",
                path.display()
            ))
        })?;
        serde_saphyr::from_str(&text).map_err(|error| {
            Failure::invalid(format!("`{}` is not a context: {error}", path.display()))
        })
    }
}
