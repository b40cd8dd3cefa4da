//! What a stream has been good for, and what the control plane was told of the kernel.

use super::{Effect, GOOD_AFTER, Life, Session, State, UNCONTESTED_AFTER, send};
use palisade_policy::view::Position;
use palisade_proto::v1::{self, stream_view_request as up};
use std::time::Duration;

impl Session {
    /// What the stream has been good for, also after its end.
    pub fn life(&self, now: Duration) -> Life {
        let lasted = self.welcomed.map(|at| now.saturating_sub(at));
        let lasted = lasted.unwrap_or_default();
        if lasted >= UNCONTESTED_AFTER {
            Life::Uncontested
        } else if self.acknowledged || (lasted >= GOOD_AFTER && self.have.is_some()) {
            Life::Good
        } else {
            Life::Brief
        }
    }

    /// Whether the control plane is to be told that the kernel enforces this: it was told something else last, and no
    /// Ack under way tells it.
    pub fn owes(&self, enforced: Option<&Position>) -> bool {
        let view = |position: &Position| (position.epoch, position.digest);
        let now = enforced.map(view);
        let acknowledging = match &self.state {
            State::Applying(to) => Some(view(to)),
            _ => None,
        };
        now != self.enforced.as_ref().map(view) && (now.is_none() || now != acknowledging)
    }

    pub(super) fn on_report(
        &mut self,
        mut report: v1::NodeReport,
        enforced: Option<Position>,
    ) -> Vec<Effect> {
        if !self.is_welcome() {
            return Vec::new();
        }
        self.enforced = enforced;
        report.enforced = enforced.as_ref().map(Into::into);
        send(up::Message::Report(report))
    }
}
