//! Whether this kernel is one that we support, and what follows if it is not; a decision over what was probed, pure.

use crate::{Feature, Netfilter, ReadError};
use std::fmt;

/// The oldest release that is supported.
const OLDEST: (u32, u32) = (5, 10);
/// Without it rules would judge other packets than they say; without any other feature the kernel refuses a rule, whole.
const INPUT_IN_POSTROUTING: &str = "postrouting-iif";

/// A kernel that is older than those we support.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OldKernel {
    release: String,
    lacks: Vec<&'static str>,
}

impl OldKernel {
    /// Whether a ruleset of ours would judge packets otherwise than its policy says: nothing must be written then.
    pub fn misjudges(&self) -> bool {
        self.lacks.contains(&INPUT_IN_POSTROUTING)
    }

    /// The features that it lacks.
    pub fn lacks(&self) -> &[&'static str] {
        &self.lacks
    }
}

impl fmt::Display for OldKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = OLDEST;
        let release = self.release.as_str();
        write!(
            f,
            "Linux `{release}` is not known to be {major}.{minor} or later, as this program needs"
        )?;
        match self.lacks.as_slice() {
            [] => f.write_str("; it lacks no feature that was looked for")?,
            lacks => write!(f, "; it lacks {}", lacks.join(", "))?,
        }
        if self.misjudges() {
            f.write_str(
                "; what this host sends and has translated could not be told from what it forwards, so no policy is \
                 written to this kernel",
            )?;
        }
        Ok(())
    }
}

/// Judges a kernel by its release and by what was probed; absent: it is supported.
pub fn old_kernel(release: &str, features: &[Feature]) -> Option<OldKernel> {
    if is_supported(release) {
        return None;
    }
    let lacks = features.iter().filter(|feature| !feature.present);
    Some(OldKernel {
        release: release.to_owned(),
        lacks: lacks.map(|feature| feature.name).collect(),
    })
}

fn is_supported(release: &str) -> bool {
    version(release).is_some_and(|version| version >= OLDEST)
}

/// The first two numbers of a release.
pub(crate) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// The release of the running kernel; empty: it is not told.
pub(crate) fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

impl Netfilter {
    /// Whether this kernel is too old, and what it lacks; absent: it is supported. Only an old one is probed: probing looks
    /// for modules, and this is asked before anything is enforced.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn old_kernel(&mut self) -> Result<Option<OldKernel>, ReadError> {
        let release = release();
        if is_supported(&release) {
            return Ok(None);
        }
        Ok(old_kernel(&release, &self.probe()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(lacking: &[&'static str]) -> Vec<Feature> {
        ["queue", "ct-status", INPUT_IN_POSTROUTING]
            .into_iter()
            .map(|name| Feature {
                name,
                present: !lacking.contains(&name),
            })
            .collect()
    }

    #[test]
    fn kernels_since_5_10_are_supported_whatever_they_lack() {
        for release in ["5.10.0-21-amd64", "6.1.0", "6.18.44-fc", "10.0"] {
            assert_eq!(
                old_kernel(release, &features(&["queue"])),
                None,
                "{release}"
            );
        }
    }

    #[test]
    fn an_older_kernel_says_what_it_lacks_and_one_before_5_8_gets_no_policy() {
        let told = old_kernel("5.8.0", &features(&["queue"])).expect("old");
        assert_eq!(told.lacks(), ["queue"]);
        assert!(!told.misjudges());
        assert!(told.to_string().contains("it lacks queue"), "{told}");
        for release in [
            "5.4.0-42-generic",
            "4.18.0-305.el8",
            "4.19.0-9-amd64",
            "",
            "six",
        ] {
            let told =
                old_kernel(release, &features(&["queue", INPUT_IN_POSTROUTING])).expect("old");
            assert!(told.misjudges(), "{release}");
            assert!(told.to_string().contains("no policy is written"), "{told}");
        }
    }
}
