//! What is not as it should be on this node, for people: part of the report, of `status` and of the log.

/// Something that people should know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Condition {
    /// `Degraded`, `NotDurable`, `ForeignChange`, `PlainTier`, `AddressMismatch`, `OldKernel`, `InterfacesUnknown`,
    /// `HttpUnavailable`, `PluginsUnavailable`, `AuditUnavailable`, `SinkRefused`, `SinkFailing`, and those of
    /// [`crate::link::state::kind`].
    pub kind: &'static str,
    /// One word for machines.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}
