//! Whether bytes are a plugin at all, judged without running or compiling any of them. The control plane asks before it
//! stores, the node asks again before it compiles.

mod contract;
mod walk;

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;
use crate::manifest::Manifest;

pub(crate) use contract::wasi_interface;

/// Largest component that is accepted, in bytes.
pub const MAX_SIZE: usize = 32 << 20;

/// A duty that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A condition of a rule.
    Matcher,
    /// Reads what happened.
    Auditor,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matcher => "matcher",
            Self::Auditor => "auditor",
        })
    }
}

/// The duties of a component; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    matcher: bool,
    auditor: bool,
}

impl Kinds {
    /// Whether it has this duty.
    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Matcher => self.matcher,
            Kind::Auditor => self.auditor,
        }
    }

    /// Its duties in order.
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        [Kind::Matcher, Kind::Auditor]
            .into_iter()
            .filter(move |kind| self.has(*kind))
    }
}

/// Bytes that are a whole, well-formed component of a known world, with its facts.
#[derive(Debug, Clone)]
pub struct Verified {
    pub(crate) bytes: Arc<[u8]>,
    digest: Digest,
    kinds: Kinds,
    manifest: Manifest,
    imports: Vec<String>,
}

impl Verified {
    /// The name of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The component.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// What it can do.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The interfaces it imports, sorted.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }
}

/// Why bytes are not accepted as a plugin. [`Refusal::fix`] says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than [`MAX_SIZE`].
    #[error("the component has {size} bytes, more than the {MAX_SIZE} allowed")]
    TooLarge {
        /// Its bytes.
        size: usize,
    },
    /// Other bytes than those that were named.
    #[error("the bytes have digest {actual}, not {expected}")]
    Altered {
        /// What was named.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Ends before its end.
    #[error("the component is cut off: {reason}")]
    Truncated {
        /// Where.
        reason: String,
    },
    /// A core module.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// Not WebAssembly.
    #[error("this is not WebAssembly")]
    NotWebAssembly,
    /// Not well-formed, or built with features that are off.
    #[error("the component is malformed: {reason}")]
    Malformed {
        /// What and where.
        reason: String,
    },
    /// Components within the component that hold code.
    #[error("the component is composed of several")]
    Composed,
    /// None of the worlds.
    #[error("the component is of another world: it exports {}", listed(.exports))]
    OtherWorld {
        /// What it exports.
        exports: Vec<String>,
    },
    /// A world of the contract that no host runs yet.
    #[error("the component is a resolver, which this version does not run")]
    Resolver,
    /// Ours, of another version.
    #[error(
        "the component speaks `{interface}`, and this version speaks {}",
        contract::VERSION
    )]
    OtherVersion {
        /// What it imports or exports.
        interface: String,
    },
    /// Every plugin exports settings.
    #[error("the component exports no `{}`", contract::SETTINGS)]
    NoSettings,
    /// Something the host does not have, or not for this kind.
    #[error("the component imports `{interface}`, which plugins do not have")]
    UnknownImport {
        /// What it imports.
        interface: String,
    },
    /// No manifest, or more than one.
    #[error("the component has {count} sections `palisade:manifest`, not one")]
    Manifests {
        /// How many.
        count: usize,
    },
    /// A manifest that does not fit.
    #[error("the manifest does not fit: {reason}")]
    Manifest {
        /// In which way.
        reason: String,
    },
    /// Names fit, types or functions do not.
    #[error("the component does not fit the contract: {reason}")]
    Types {
        /// Which.
        reason: String,
    },
    /// It could not be compiled.
    #[error("the component does not compile: {reason}")]
    Compile {
        /// Why.
        reason: String,
    },
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Judges bytes. `expected`, if given, is the digest under which they were named.
///
/// # Errors
///
/// The first reason against them.
pub fn verify(bytes: impl Into<Arc<[u8]>>, expected: Option<Digest>) -> Result<Verified, Refusal> {
    let bytes = bytes.into();
    if bytes.len() > MAX_SIZE {
        return Err(Refusal::TooLarge { size: bytes.len() });
    }
    let digest = Digest::of(&bytes);
    if let Some(expected) = expected
        && expected != digest
    {
        return Err(Refusal::Altered {
            expected,
            actual: digest,
        });
    }
    let outline = walk::outline(&bytes)?;
    let kinds = contract::kinds(&outline.exports)?;
    contract::check_imports(&outline.imports, kinds)?;
    let manifest = match outline.manifests.as_slice() {
        [only] => Manifest::parse(only).map_err(|reason| Refusal::Manifest { reason })?,
        several => {
            return Err(Refusal::Manifests {
                count: several.len(),
            });
        }
    };
    let mut imports = outline.imports;
    imports.sort();
    Ok(Verified {
        digest,
        kinds,
        manifest,
        imports,
        bytes,
    })
}
