//! When the next report is due: what the control plane compiles and judges by at once, anything else after a while.

use crate::enforce::Observed;
use palisade_policy::{ids::EndpointId, packet::Environment, resolve::EndpointStatus};
use palisade_proto::v1::{NodeReport, PluginReport};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Urgent reports are so far apart at least; what changes meanwhile is in the next one.
const URGENT_EVERY: Duration = Duration::from_millis(200);
/// Other reports are so far apart at least.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The report sent last, and what changed since.
pub(super) struct Reported {
    at: Instant,
    environment: Environment,
    endpoints: BTreeMap<EndpointId, EndpointStatus>,
    plugins: Vec<PluginReport>,
    /// The machine is not as reported.
    differs: bool,
    /// Something else cannot wait.
    hurried: bool,
    /// Something changed that people read.
    stale: bool,
}

impl Reported {
    /// This was reported then.
    pub(super) fn new(observed: &Observed, report: &NodeReport, at: Instant) -> Self {
        Self {
            at,
            environment: observed.environment.clone(),
            endpoints: observed.endpoints.clone(),
            plugins: report.plugins.clone(),
            differs: false,
            hurried: false,
            stale: false,
        }
    }

    /// The machine is this now. The control plane compiles and judges by environment and endpoints.
    pub(super) fn observe(&mut self, observed: &Observed) {
        self.stale = true;
        self.differs =
            self.environment != observed.environment || self.endpoints != observed.endpoints;
    }

    /// Something changed that people read.
    pub(super) fn outdate(&mut self) {
        self.stale = true;
    }

    /// Something changed that cannot wait.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    fn is_urgent(&self) -> bool {
        self.differs || self.hurried
    }

    /// When to report next, or to look whether plugins have something new; `None`: nothing can change by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.is_urgent() {
            Some(self.at + URGENT_EVERY)
        } else if self.stale || !self.plugins.is_empty() {
            Some(self.at + REPORT_EVERY)
        } else {
            None
        }
    }

    /// Whether a report that is due has something to say. Plugins are called, set aside, and come back, with nobody
    /// telling. If there is nothing, the next look is as far away as the next report.
    pub(super) fn has_news(
        &mut self,
        plugins: impl FnOnce() -> Vec<PluginReport>,
        now: Instant,
    ) -> bool {
        let news = self.is_urgent() || self.stale || plugins() != self.plugins;
        if !news {
            self.at = now;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_policy::packet::Interface;

    fn with(address: u8) -> Observed {
        let mut observed = Observed::default();
        let interface = Interface {
            up: true,
            addresses: vec![[10, 0, 0, address].into()],
            master: None,
        };
        observed
            .environment
            .interfaces
            .insert("eth0".into(), interface);
        observed
    }

    const IDLE: fn() -> Vec<PluginReport> = Vec::new;

    /// How often a machine is reported that changes so often, this far apart, and what was reported last.
    fn reports(changes: u8, apart: Duration) -> (usize, Observed) {
        let mut now = Instant::now();
        let mut sent = with(0);
        let mut reported = Reported::new(&sent, &NodeReport::default(), now);
        let mut count = 0;
        for change in 1..=changes {
            let machine = with(change);
            reported.observe(&machine);
            let next = now + apart;
            // The last change has all the time.
            while let Some(due) = reported.due()
                && (due <= next || change == changes)
            {
                now = now.max(due);
                assert!(reported.has_news(IDLE, now));
                reported = Reported::new(&machine, &NodeReport::default(), now);
                sent = machine.clone();
                count += 1;
            }
            now = now.max(next);
        }
        (count, sent)
    }

    #[test]
    fn five_urgent_reports_a_second_at_most_and_the_latest_is_told() {
        let (count, sent) = reports(100, Duration::from_millis(20));
        assert!((9..=11).contains(&count), "{count} reports in two seconds");
        assert_eq!(sent, with(100));
        let (count, _) = reports(3, Duration::from_secs(5));
        assert_eq!(count, 3, "far apart, each is told");
    }

    #[test]
    fn a_change_that_is_taken_back_is_not_urgent_and_what_people_read_waits() {
        let began = Instant::now();
        let mut reported = Reported::new(&with(1), &NodeReport::default(), began);
        assert_eq!(reported.due(), None);
        reported.observe(&with(2));
        assert_eq!(reported.due(), Some(began + URGENT_EVERY));
        reported.observe(&with(1));
        assert_eq!(reported.due(), Some(began + REPORT_EVERY));
        reported.hurry();
        assert_eq!(reported.due(), Some(began + URGENT_EVERY));
    }

    #[test]
    fn plugins_are_looked_at_now_and_then_and_reported_where_they_have_news() {
        let plugin = |calls| PluginReport {
            calls,
            ..PluginReport::default()
        };
        let report = NodeReport {
            plugins: vec![plugin(1)],
            ..NodeReport::default()
        };
        let began = Instant::now();
        let mut reported = Reported::new(&with(1), &report, began);
        let look = reported.due().expect("a look");
        assert_eq!(look, began + REPORT_EVERY);
        assert!(!reported.has_news(|| vec![plugin(1)], look));
        assert_eq!(reported.due(), Some(look + REPORT_EVERY));
        assert!(reported.has_news(|| vec![plugin(2)], look + REPORT_EVERY));
    }
}
