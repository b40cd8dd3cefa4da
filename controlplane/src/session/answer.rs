//! What a node answers to a transaction: Ack or Nack.

use super::{Effect, Ending, Held, Session, fault, position};
use palisade_proto::v1;
use std::time::Duration;

impl Session {
    pub(super) fn on_ack(&mut self, now: Duration, ack: &v1::Ack) -> Result<Vec<Effect>, Ending> {
        let applied =
            position(ack.applied.as_ref())?.ok_or(Ending::Protocol("an Ack names a position"))?;
        if let Some(done) = self
            .in_flight
            .take_if(|f| f.to.digest == applied.digest && f.to.epoch == applied.epoch)
        {
            self.memory.acknowledged = Some((done.to, done.table.clone()));
            self.held = Held::Table(done.to, done.table);
        } else if self
            .held
            .position()
            .is_none_or(|p| p.digest != applied.digest)
        {
            return Err(Ending::Protocol("an Ack of what was not sent"));
        }
        self.memory.enforced = Some(applied);
        self.memory.apply_micros = ack.apply_micros;
        self.memory.lagging = false;
        self.memory.fault = None;
        self.changed = true;
        Ok(self.advance(now))
    }

    /// What a report says of the kernel, be it less than the last Ack said.
    pub(super) fn on_report(&mut self, report: v1::NodeReport) -> Result<Vec<Effect>, Ending> {
        let enforced = position(report.enforced.as_ref())?;
        self.changed |= self.memory.report.as_ref() != Some(&report);
        self.changed |= self.memory.enforced != enforced;
        self.memory.enforced = enforced;
        self.memory.report = Some(report);
        Ok(Vec::new())
    }

    pub(super) fn on_nack(&mut self, now: Duration, nack: v1::Nack) -> Result<Vec<Effect>, Ending> {
        let rejected =
            position(nack.rejected.as_ref())?.ok_or(Ending::Protocol("a Nack names a position"))?;
        let still = position(nack.still_enforcing.as_ref())?;
        let Some(refused) = self.in_flight.take_if(|f| f.to.digest == rejected.digest) else {
            return Err(Ending::Protocol("a Nack of what was not sent"));
        };
        self.memory.enforced = still;
        self.memory.lagging = false;
        self.changed = true;
        if nack.want_snapshot && !refused.snapshot {
            self.held = Held::Nothing;
            return Ok(self.advance(now));
        }
        if fault::is_of_the_machine(&nack) {
            self.memory.blame_machine(refused.to.digest, &nack, now);
        } else {
            let latest = self.latest.as_ref().map(|latest| &latest.table);
            self.memory.reject(&refused.table, latest, &nack);
        }
        Ok(self.advance(now))
    }
}
