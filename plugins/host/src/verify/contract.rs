//! The names of the contract: what a plugin of each kind may import and must export.

use super::{Kind, Kinds, Refusal};

/// The version of the contract that this host speaks.
pub(super) const VERSION: &str = "0.1.0";

/// Exported by every plugin.
pub(super) const SETTINGS: &str = "palisade:plugin/settings@0.1.0";
const MATCHER: &str = "palisade:plugin/matcher@0.1.0";
const AUDITOR: &str = "palisade:plugin/auditor@0.1.0";
const RESOLVER: &str = "palisade:plugin/resolver@0.1.0";
const TYPES: &str = "palisade:plugin/types@0.1.0";

/// For plugins of every kind.
const IMPORTS: [&str; 4] = [
    TYPES,
    "palisade:plugin/host@0.1.0",
    "palisade:plugin/inventory@0.1.0",
    "palisade:plugin/state@0.1.0",
];

/// For auditors.
const SINKS: &str = "palisade:plugin/sinks@0.1.0";

/// What the standard libraries of languages import without being asked. All are served without anything behind them;
/// see `wasi.rs`. Any 0.2 version fits.
const WASI: [&str; 14] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/monotonic-clock",
];

const WASI_MORE: [&str; 4] = [
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// The duties that exports show.
pub(super) fn kinds(exports: &[String]) -> Result<Kinds, Refusal> {
    let exports_it = |name: &str| exports.iter().any(|export| export == name);
    let kinds = Kinds {
        matcher: exports_it(MATCHER),
        auditor: exports_it(AUDITOR),
    };
    if kinds.matcher || kinds.auditor {
        return if exports_it(SETTINGS) {
            Ok(kinds)
        } else {
            Err(Refusal::NoSettings)
        };
    }
    if exports_it(RESOLVER) {
        return Err(Refusal::Resolver);
    }
    match exports.iter().find(|export| is_ours(export)) {
        Some(other) if !other.ends_with("@0.1.0") => Err(Refusal::OtherVersion {
            interface: other.clone(),
        }),
        _ => Err(Refusal::OtherWorld {
            exports: exports.to_vec(),
        }),
    }
}

/// Whether every import is one that a plugin of these kinds may have.
pub(super) fn check_imports(imports: &[String], kinds: Kinds) -> Result<(), Refusal> {
    for import in imports {
        let known = IMPORTS.contains(&import.as_str())
            || (import == SINKS && kinds.has(Kind::Auditor))
            || wasi_interface(import).is_some();
        if known {
            continue;
        }
        let interface = import.clone();
        return Err(if is_ours(import) && !import.ends_with("@0.1.0") {
            Refusal::OtherVersion { interface }
        } else {
            Refusal::UnknownImport { interface }
        });
    }
    Ok(())
}

/// The name without version of an interface of WASI that is served.
pub(crate) fn wasi_interface(import: &str) -> Option<&'static str> {
    let (name, version) = import.split_once('@')?;
    version.strip_prefix("0.2.")?;
    WASI.iter()
        .chain(&WASI_MORE)
        .find(|served| **served == name)
        .copied()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("palisade:plugin/")
}

impl Refusal {
    /// What the author, or whoever uploads, can do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::TooLarge { .. } => {
                "build with optimisation for size (`opt-level = \"s\"`, `lto = true`, `strip = true`)".to_owned()
            }
            Self::Altered { .. } | Self::Truncated { .. } => {
                "fetch or build it again; if it stays, name the digest of what you have".to_owned()
            }
            Self::CoreModule => {
                "build for a target that makes components: `cargo build --release --target wasm32-wasip2`".to_owned()
            }
            Self::NotWebAssembly => "name the `.wasm` file that the build makes".to_owned(),
            Self::Malformed { .. } | Self::Compile { .. } => {
                "build with the current toolchain, without threads, 64-bit memory, exceptions, garbage collection, tail calls or async".to_owned()
            }
            Self::Composed => "build one component from one crate; do not compose or link components".to_owned(),
            Self::OtherWorld { .. } | Self::NoSettings => {
                "export `palisade:plugin/settings` and `matcher` or `auditor` of version 0.1.0; in Rust, `palisade_plugin::matcher!(Type)`".to_owned()
            }
            Self::Resolver => "use a matcher or an auditor".to_owned(),
            Self::OtherVersion { .. } => {
                format!("build against version {VERSION} of the contract, or update Palisade")
            }
            Self::UnknownImport { interface } => fix_of_import(interface).to_owned(),
            Self::Manifests { .. } => {
                "embed `plugin.yaml` once as the custom section `palisade:manifest`; the macros of the Rust SDK do".to_owned()
            }
            Self::Manifest { .. } => "correct `plugin.yaml` and build again".to_owned(),
            Self::Types { .. } => {
                format!("build against `palisade.wit` of version {VERSION}, unchanged, or update Palisade")
            }
        }
    }
}

fn fix_of_import(interface: &str) -> &'static str {
    match interface
        .split_once('/')
        .map_or(interface, |(package, _)| package)
    {
        "wasi:filesystem" => "plugins have no files: remove what reads or writes them (`std::fs`)",
        "wasi:sockets" | "wasi:http" => {
            "plugins have no network: remove what opens connections (in JavaScript, `disableFeatures: http, fetch-event`)"
        }
        "wasi:cli" | "wasi:clocks" | "wasi:random" | "wasi:io" => {
            "build against WASI 0.2; in JavaScript and Python, build with WASI stubbed out"
        }
        "palisade:plugin" => "only auditors have sinks: emit from an auditor",
        _ => "import only the interfaces of `palisade.wit`",
    }
}
