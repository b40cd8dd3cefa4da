//! What a test needs of the machine, and what happens when it is not there: a loud skip, or a failure where
//! `PALISADE_REQUIRE` names it.

use std::fmt;

use crate::netns::Namespace;

/// Something a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prerequisite {
    /// Root, `ip`, `nft`, and a kernel that gives us network namespaces.
    Netns,
    /// The kernel speaks IPv6.
    Ipv6,
    /// The three product binaries are built.
    Binaries,
}

impl fmt::Display for Prerequisite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netns => "netns",
            Self::Ipv6 => "ipv6",
            Self::Binaries => "binaries",
        })
    }
}

impl Prerequisite {
    /// Why this is missing here, or `None` where it is present.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Netns => netns_missing(),
            Self::Ipv6 => (!std::path::Path::new("/proc/sys/net/ipv6").exists())
                .then(|| "the kernel does not speak IPv6".to_owned()),
            Self::Binaries => crate::product::Binaries::find()
                .err()
                .map(|error| error.to_string()),
        }
    }

    /// Whether `PALISADE_REQUIRE` (a comma-separated list) turns a skip for this into a failure.
    pub fn is_required(self) -> bool {
        std::env::var("PALISADE_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|word| word.trim() == self.to_string()))
    }
}

/// True where all of `needs` are there. Otherwise prints why the test is skipped and returns false.
///
/// # Panics
///
/// Where something is missing that `PALISADE_REQUIRE` names.
pub fn have(test: &str, needs: &[Prerequisite]) -> bool {
    for need in needs {
        if let Some(reason) = need.missing() {
            assert!(
                !need.is_required(),
                "{test}: PALISADE_REQUIRE names `{need}`, but {reason}"
            );
            eprintln!("SKIPPED {test}: {reason}");
            return false;
        }
    }
    true
}

fn netns_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    for tool in ["ip", "nft"] {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path)
                .chain([std::path::PathBuf::from("/usr/sbin")])
                .any(|dir| dir.join(tool).exists())
        });
        if !found {
            return Some(format!("`{tool}` is not installed"));
        }
    }
    Namespace::create("probe")
        .err()
        .map(|error| format!("{error:#}"))
}
