//! Records on their way to the control plane, while it is connected: bounded, and nothing waits for it.

use crate::backoff::Backoff;
use palisade_proto::v1::{
    FlowRecord, ReportFlowsRequest, flow_record::Body, flow_service_client::FlowServiceClient,
};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Records that wait at most; beyond, they are dropped, and counted in a record of their own.
const ROOM: usize = 4096;
/// Records a second that are reported for as long as more come: a flood of packets at many nodes is none of records at
/// the control plane. Sinks get every one.
const RATE: u32 = 1000;
/// Records that are reported at once, before the rate holds.
const BURST: u32 = 4096;
/// Of these, so many are not for packets: what auditors say of a flood is to get through.
const RESERVED: u32 = 512;
/// Records of one message.
const TOGETHER: usize = 256;
/// Messages that wait for the network.
const AHEAD: usize = 4;

/// Where the audit thread puts records.
#[derive(Debug)]
pub struct Outbox {
    records: mpsc::Sender<FlowRecord>,
    allowance: Allowance,
    missed: u64,
}

/// What a record says before it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stub {
    /// Of the event, lost ones included; 0: it is none.
    pub sequence: u64,
    /// Milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// Events that it stands for.
    pub count: u64,
    /// Of a packet: one of many.
    pub flow: bool,
}

/// How many records may go now: refilled with time, up to a burst.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// Up to when it has been refilled.
    since: Instant,
}

/// A bounded way for [`Outbox`], and its other end for [`send`].
pub fn records() -> (mpsc::Sender<FlowRecord>, mpsc::Receiver<FlowRecord>) {
    mpsc::channel(ROOM)
}

impl Outbox {
    /// At the beginning of the way.
    pub fn new(records: mpsc::Sender<FlowRecord>) -> Self {
        Self {
            records,
            allowance: Allowance {
                left: BURST,
                since: Instant::now(),
            },
            missed: 0,
        }
    }

    /// Makes a record and takes it, if there is room and not too many came just before. Never waits.
    pub fn put(&mut self, now: Instant, stub: Stub, record: impl FnOnce() -> FlowRecord) {
        let reserved = if stub.flow { RESERVED } else { 0 };
        if !self.allowance.take(now, reserved) {
            self.missed += stub.count;
            return;
        }
        if self.missed > 0 {
            let lost = FlowRecord {
                sequence: stub.sequence.saturating_sub(1),
                time_ms: stub.time_ms,
                body: Some(Body::Lost(self.missed)),
                fields: Vec::new(),
            };
            if self.records.try_send(lost).is_ok() {
                self.missed = 0;
            }
        }
        if self.missed > 0 || self.records.try_send(record()).is_err() {
            self.missed += stub.count;
        }
    }
}

impl Stub {
    /// That of a record that is there.
    pub fn of(record: &FlowRecord) -> Self {
        Self {
            sequence: record.sequence,
            time_ms: record.time_ms,
            count: match &record.body {
                Some(Body::Lost(count)) => *count,
                _ => 1,
            },
            flow: matches!(record.body, Some(Body::Flow(_))),
        }
    }
}

impl Allowance {
    /// One of those beyond what is reserved.
    fn take(&mut self, now: Instant, reserved: u32) -> bool {
        let each = Duration::from_secs(1) / RATE;
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_nanos() / each.as_nanos()).unwrap_or(BURST);
        if more >= BURST {
            (self.left, self.since) = (BURST, now);
        } else if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.since += each * more;
        }
        let some = self.left > reserved;
        self.left -= u32::from(some);
        some
    }
}

/// Sends records for as long as there are any, over whatever connection there is.
pub async fn send(
    mut records: mpsc::Receiver<FlowRecord>,
    mut channel: watch::Receiver<Option<Channel>>,
) {
    let mut patience = Backoff::stream();
    let mut first = None;
    loop {
        // No stream is opened before there is something to say.
        if first.is_none() {
            first = records.recv().await;
            if first.is_none() {
                return;
            }
        }
        let connected = match channel.wait_for(Option::is_some).await {
            Ok(connected) => connected.clone(),
            Err(_) => return,
        };
        let Some(connected) = connected else {
            continue;
        };
        if let Err(status) = stream(connected, &mut records, &mut first, &mut patience).await {
            tracing::debug!(%status, "flows are not reported");
        }
        let wait = patience.next(&mut rand::rng());
        tokio::time::sleep(wait).await;
    }
}

async fn stream(
    channel: Channel,
    records: &mut mpsc::Receiver<FlowRecord>,
    first: &mut Option<FlowRecord>,
    patience: &mut Backoff,
) -> Result<(), tonic::Status> {
    let (requests, outgoing) = mpsc::channel(AHEAD);
    let mut client = FlowServiceClient::new(channel);
    let call = client.report_flows(ReceiverStream::new(outgoing));
    let feed = async {
        let mut batch: Vec<FlowRecord> = first.take().into_iter().collect();
        loop {
            while batch.len() < TOGETHER
                && let Ok(record) = records.try_recv()
            {
                batch.push(record);
            }
            if batch.is_empty() && records.recv_many(&mut batch, TOGETHER).await == 0 {
                return;
            }
            let records = std::mem::take(&mut batch);
            if requests.send(ReportFlowsRequest { records }).await.is_err() {
                return;
            }
            patience.reset();
        }
    };
    tokio::select! {
        ended = call => ended.map(|_| ()),
        () = feed => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(sequence: u64) -> FlowRecord {
        FlowRecord {
            sequence,
            time_ms: 0,
            body: Some(Body::PolicyChange(Default::default())),
            fields: Vec::new(),
        }
    }

    fn put(outbox: &mut Outbox, now: Instant, sequence: u64) {
        let record = change(sequence);
        outbox.put(now, Stub::of(&record), || record);
    }

    #[test]
    fn what_does_not_fit_is_said_once_there_is_room() {
        let (sender, mut records) = records();
        let mut outbox = Outbox::new(sender);
        let room = u64::try_from(ROOM).expect("small");
        let now = Instant::now();
        for sequence in 1..=room {
            put(&mut outbox, now, sequence);
        }
        // Allowed by the rate, and nobody reads.
        let later = now + Duration::from_secs(60);
        for sequence in room + 1..=room + 5 {
            put(&mut outbox, later, sequence);
        }
        for sequence in 1..=room {
            assert_eq!(records.try_recv().expect("there").sequence, sequence);
        }
        assert!(records.try_recv().is_err());
        put(&mut outbox, later, room + 6);
        let said = records.try_recv().expect("there");
        assert_eq!((said.sequence, said.body), (room + 5, Some(Body::Lost(5))));
        assert_eq!(records.try_recv().expect("there"), change(room + 6));
    }

    #[test]
    fn a_flood_is_reported_at_a_bounded_rate_and_what_is_said_of_it_gets_through() {
        let (sender, mut records) = records();
        let mut outbox = Outbox::new(sender);
        let began = Instant::now();
        let (mut flows, mut others, mut lost, mut sequence) = (0, 0, 0, 0);
        for millisecond in 0..10_000 {
            let now = began + Duration::from_millis(millisecond);
            for _ in 0..20 {
                sequence += 1;
                let mut flow = change(sequence);
                flow.body = Some(Body::Flow(Default::default()));
                outbox.put(now, Stub::of(&flow), || flow);
            }
            if millisecond % 100 == 0 {
                sequence += 1;
                put(&mut outbox, now, sequence);
            }
            while let Ok(record) = records.try_recv() {
                match record.body {
                    Some(Body::Lost(count)) => lost += count,
                    Some(Body::Flow(_)) => flows += 1,
                    _ => others += 1,
                }
            }
        }
        assert_eq!(others, 100);
        assert_eq!(flows + others + lost + outbox.missed, sequence);
        let most = u64::from(BURST - RESERVED) + 10 * u64::from(RATE);
        assert!(flows <= most && flows > most - 200, "{flows}");
    }
}
