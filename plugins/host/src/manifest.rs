//! What a plugin says of itself before any of its code runs: YAML in the custom section `palisade:manifest`.

use serde::Deserialize;

/// Facts about a plugin, as its author wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Lower-case letters, digits and `-`, as a resource may be named.
    pub name: String,
    /// Free text.
    pub version: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Present in matchers only.
    #[serde(default)]
    pub matcher: MatcherFacts,
    /// Present in auditors only.
    #[serde(default)]
    pub auditor: AuditorFacts,
    /// What the author asks for; default: what the host gives.
    #[serde(default)]
    pub limits: LimitsAsked,
    /// Names of sinks that an auditor emits to.
    #[serde(default)]
    pub sinks: Vec<String>,
    /// Names of metrics that the plugin counts or observes.
    #[serde(default)]
    pub metrics: Vec<String>,
}

/// What the kernel must know of a matcher.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatcherFacts {
    /// Bytes of transport payload wanted, 0 (the default) to 4096.
    #[serde(default)]
    pub payload: u16,
    /// What two packets have in common that get the same answer; empty: answers are not remembered.
    #[serde(default)]
    pub remember_by: Vec<KeyPart>,
}

/// What the node must know of an auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditorFacts {
    /// Seconds between calls of `flush`; `None`: only at the end.
    #[serde(default)]
    pub flush_seconds: Option<u32>,
    /// What becomes of the events of a call that faults.
    #[serde(default)]
    pub on_fault: OnFault,
}

/// What becomes of events that an auditor gave no outcome for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFault {
    /// They go on as they are.
    #[default]
    Keep,
    /// They go no further and are counted as lost: for auditors that blank what must not leave the host.
    Withhold,
}

/// Limits that an author asks for. See [`crate::Limits::granted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsAsked {
    /// Fuel of one call.
    #[serde(default)]
    pub fuel: Option<u64>,
    /// Memory of an instance, in MiB.
    #[serde(default, rename = "memoryMiB")]
    pub memory_mib: Option<u32>,
}

/// A part of a packet that the kernel can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "they say it")]
pub enum KeyPart {
    SourceAddress,
    DestinationAddress,
    SourcePort,
    DestinationPort,
    Protocol,
    InInterface,
    OutInterface,
}

/// Longest manifest, in bytes.
const LONGEST: usize = 16 << 10;

impl Manifest {
    /// Reads and checks the section's content.
    ///
    /// # Errors
    ///
    /// What is wrong, for the author.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let manifest: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err(format!(
                "name `{}`: use 1 to 63 lower-case letters, digits and `-`, beginning with a letter, with no `-` at the end",
                self.name
            ));
        }
        if self.matcher.payload > 4096 {
            return Err("matcher.payload is more than 4096".to_owned());
        }
        for (index, part) in self.matcher.remember_by.iter().enumerate() {
            if self.matcher.remember_by[..index].contains(part) {
                return Err(format!("matcher.rememberBy[{index}] is there twice"));
            }
        }
        if self.auditor.flush_seconds == Some(0) {
            return Err("auditor.flushSeconds is 0".to_owned());
        }
        self.limits.check()?;
        let names = self.sinks.iter().chain(&self.metrics);
        if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
            return Err(format!(
                "`{name}`: sinks and metrics are named in lower-case letters, digits and `-`, beginning with a letter, with no `-` at the end"
            ));
        }
        Ok(())
    }
}

impl LimitsAsked {
    /// With nothing to use, every call would be a fault.
    fn check(self) -> Result<(), String> {
        let asked = [
            ("fuel", self.fuel),
            ("memoryMiB", self.memory_mib.map(u64::from)),
        ];
        match asked.iter().find(|(_, asked)| *asked == Some(0)) {
            Some((field, _)) => Err(format!(
                "limits.{field} is 0, so that no call could succeed: ask for what a call needs, or leave it out to get what the host gives"
            )),
            None => Ok(()),
        }
    }
}

/// Whether a text can name a plugin, a sink or a metric; a resource can then have it as its name, too.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse(
            b"name: dns-suffix\nversion: 1.2.0\nmatcher: {payload: 512, rememberBy: [sourceAddress]}\nlimits: {memoryMiB: 4}\n",
        )
        .expect("fits");
        assert_eq!(manifest.matcher.remember_by, [KeyPart::SourceAddress]);
        assert_eq!(manifest.limits.memory_mib, Some(4));
        assert_eq!(manifest.auditor.on_fault, OnFault::Keep);
        let guards = Manifest::parse(b"name: x\nversion: '1'\nauditor: {onFault: withhold}\n");
        assert_eq!(guards.expect("fits").auditor.on_fault, OnFault::Withhold);
    }

    #[test]
    fn a_limit_of_nothing_is_refused_with_its_field_and_the_fix() {
        for field in ["fuel", "memoryMiB"] {
            let manifest = |asked| {
                let text = format!("name: x\nversion: '1'\nlimits: {{{field}: {asked}}}");
                Manifest::parse(text.as_bytes())
            };
            let reason = manifest(0).expect_err("refused");
            assert!(reason.contains(&format!("limits.{field} is 0")), "{reason}");
            assert!(reason.contains("leave it out"), "{reason}");
            assert!(manifest(1).is_ok(), "{field}");
        }
    }

    #[test]
    fn a_manifest_that_does_not_fit_is_refused() {
        for text in [
            "",
            "name: x",
            "name: Bad Name\nversion: 1",
            "name: x\nversion: '1'\nwhat: ever",
            "name: x\nversion: '1'\nmatcher: {payload: 5000}",
            "name: x\nversion: '1'\nmatcher: {rememberBy: [protocol, protocol]}",
            "name: x\nversion: '1'\nmatcher: {rememberBy: [moon]}",
            "name: x\nversion: '1'\nsinks: ['/etc/passwd']",
            "name: x\nversion: '1'\nauditor: {flushSeconds: 0}",
            "name: x\nversion: '1'\nauditor: {onFault: discard}",
            "\u{0}",
        ] {
            assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
