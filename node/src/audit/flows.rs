//! Records on their way to the control plane, while it is connected: bounded, and nothing waits for it.

use crate::backoff::Backoff;
use palisade_proto::v1::{
    FlowRecord, ReportFlowsRequest, flow_record::Body, flow_service_client::FlowServiceClient,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Records that wait at most; beyond, they are dropped, and counted in a record of their own.
const ROOM: usize = 4096;
/// Records of one message.
const TOGETHER: usize = 256;
/// Messages that wait for the network.
const AHEAD: usize = 4;

/// Where the audit thread puts records.
#[derive(Debug)]
pub struct Outbox {
    records: mpsc::Sender<FlowRecord>,
    missed: u64,
}

/// A bounded way for [`Outbox`], and its other end for [`send`].
pub fn records() -> (mpsc::Sender<FlowRecord>, mpsc::Receiver<FlowRecord>) {
    mpsc::channel(ROOM)
}

impl Outbox {
    /// At the beginning of the way.
    pub fn new(records: mpsc::Sender<FlowRecord>) -> Self {
        Self { records, missed: 0 }
    }

    /// Takes a record if there is room. Never waits.
    pub fn put(&mut self, record: FlowRecord) {
        if self.missed > 0 {
            let lost = FlowRecord {
                sequence: record.sequence.saturating_sub(1),
                time_ms: record.time_ms,
                body: Some(Body::Lost(self.missed)),
                fields: Vec::new(),
            };
            if self.records.try_send(lost).is_ok() {
                self.missed = 0;
            }
        }
        let stands_for = match &record.body {
            Some(Body::Lost(count)) => *count,
            _ => 1,
        };
        if self.missed > 0 || self.records.try_send(record).is_err() {
            self.missed += stands_for;
        }
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

    #[test]
    fn what_does_not_fit_is_said_once_there_is_room() {
        let (sender, mut records) = records();
        let mut outbox = Outbox::new(sender);
        let room = u64::try_from(ROOM).expect("small");
        for sequence in 1..=room + 5 {
            outbox.put(change(sequence));
        }
        for sequence in 1..=room {
            assert_eq!(records.try_recv().expect("there").sequence, sequence);
        }
        assert!(records.try_recv().is_err());
        outbox.put(change(room + 6));
        let said = records.try_recv().expect("there");
        assert_eq!((said.sequence, said.body), (room + 5, Some(Body::Lost(5))));
        assert_eq!(records.try_recv().expect("there"), change(room + 6));
    }
}
