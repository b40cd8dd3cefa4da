//! What auditors are told of a packet: which rule decided, and what it did. A rule may allow and deny: where its plugin
//! gives no answer, the failure policy acts under the same id.

use palisade_policy::ids::RuleId;

/// What a rule did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogAction {
    /// Let a packet that begins a flow through.
    Allow,
    /// Denied.
    Deny,
    /// Logged.
    Log,
}

impl LogAction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Log];

    const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Log => "log",
        }
    }

    /// The prefix of the packet's log message.
    pub fn prefix(self, id: RuleId) -> String {
        format!("{} {id}", self.word())
    }

    /// What a prefix says; absent: it is not ours.
    pub fn read(prefix: &str) -> Option<(Self, RuleId)> {
        let (word, digits) = prefix.split_once(' ')?;
        let told = Self::ALL.into_iter().find(|told| told.word() == word)?;
        let id = RuleId(u64::from_str_radix(digits, 16).ok()?);
        (id.to_string() == digits).then_some((told, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_write_is_read() {
        for told in LogAction::ALL {
            let id = RuleId(255);
            assert_eq!(LogAction::read(&told.prefix(id)), Some((told, id)));
        }
        for prefix in [
            "00000000000000ff",
            "deny ff",
            "deny 00000000000000FF",
            "deny +0000000000000ff",
            "Deny 00000000000000ff",
            "",
            "calico",
        ] {
            assert_eq!(LogAction::read(prefix), None, "{prefix}");
        }
    }
}
