//! Faults of a node's machine: no memory, no space, no time. They pass, so nothing is blamed and the view is sent again.

use super::Memory;
use palisade_policy::view::Digest;
use palisade_proto::{google::rpc::Status, v1};
use std::time::Duration;
use tonic::Code;

/// The first pause before a view is sent again; each further one is twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const RETRY_LAST: Duration = Duration::from_secs(60);

/// A view that a node's machine could not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    view: Digest,
    retry_at: Duration,
    pause: Duration,
    /// What the node said.
    pub(super) reason: String,
}

/// Whether a Nack tells of the machine and not of the view: it names no items, and its code does not refuse content.
pub(super) fn is_of_the_machine(nack: &v1::Nack) -> bool {
    let code = nack
        .status
        .as_ref()
        .map_or(Code::Ok, |s| Code::from_i32(s.code));
    let refuses_content = matches!(
        code,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented
    );
    nack.items.is_empty() && !refuses_content
}

impl Memory {
    /// Takes note of a Nack of the machine.
    pub(super) fn blame_machine(&mut self, view: Digest, nack: &v1::Nack, now: Duration) {
        let longer = |fault: &Fault| (fault.pause * 2).min(RETRY_LAST);
        let pause = self.fault.as_ref().map_or(RETRY_FIRST, longer);
        let said = nack.status.as_ref().map(|Status { message, .. }| message);
        let said = said.filter(|message| !message.is_empty());
        self.fault = Some(Fault {
            view,
            retry_at: now + pause,
            pause,
            reason: said.map_or("without a reason", String::as_str).to_owned(),
        });
    }

    /// Whether the machine failed at this very view a moment ago. Another view is tried at once.
    pub(super) fn pauses(&self, view: &Digest, now: Duration) -> bool {
        let fault = self.fault.as_ref();
        fault.is_some_and(|fault| fault.view == *view && now < fault.retry_at)
    }

    /// Whether a pause is over.
    pub(super) fn is_retry_due(&self, now: Duration) -> bool {
        self.fault
            .as_ref()
            .is_some_and(|fault| now >= fault.retry_at)
    }
}
