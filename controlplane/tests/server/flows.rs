//! Flows: from the node that reports them to whoever watches.

use crate::harness::{DEADLINE, Plane};
use palisade_proto::v1::{self, flow_record::Body, flow_service_client::FlowServiceClient};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

fn report(sequences: impl IntoIterator<Item = u64>) -> v1::ReportFlowsRequest {
    let records = sequences.into_iter().map(|sequence| v1::FlowRecord {
        sequence,
        body: Some(Body::Lost(sequence)),
        ..v1::FlowRecord::default()
    });
    v1::ReportFlowsRequest {
        records: records.collect(),
    }
}

fn sequences(answer: &v1::WatchFlowsResponse) -> Vec<(String, u64)> {
    let flows = answer.flows.iter();
    flows
        .map(|flow| {
            let record = flow.record.as_ref().expect("a record");
            (flow.node.clone(), record.sequence)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_reports_is_seen_by_those_who_watch() {
    let plane = Plane::start().await;
    let node = plane.join("n").await;
    let mut watcher = FlowServiceClient::new(plane.admin.connect().await);
    let request = v1::WatchFlowsRequest {
        follow: true,
        ..v1::WatchFlowsRequest::default()
    };
    let mut watch = watcher
        .watch_flows(request)
        .await
        .expect("watches")
        .into_inner();

    let (reports, outgoing) = mpsc::channel(4);
    let mut reporter = FlowServiceClient::new(node.connect().await);
    let reporting =
        tokio::spawn(async move { reporter.report_flows(ReceiverStream::new(outgoing)).await });
    reports.send(report([1, 2])).await.expect("sent");
    let seen = timeout(DEADLINE, watch.message()).await.expect("in time");
    let seen = seen.expect("goes on").expect("goes on");
    assert_eq!(sequences(&seen), [("n".to_owned(), 1), ("n".to_owned(), 2)]);

    let latest = |node: &str| v1::WatchFlowsRequest {
        node: node.to_owned(),
        follow: false,
        last: 1,
    };
    let mut kept = watcher
        .watch_flows(latest("n"))
        .await
        .expect("answers")
        .into_inner();
    let first = kept.message().await.expect("an answer").expect("one");
    assert_eq!(sequences(&first), [("n".to_owned(), 2)]);
    assert!(kept.message().await.expect("ends").is_none());
    let mut other = watcher
        .watch_flows(latest("m"))
        .await
        .expect("answers")
        .into_inner();
    assert!(other.message().await.expect("ends").is_none());

    reports.send(report(0..1025)).await.expect("sent");
    let ended = timeout(DEADLINE, reporting)
        .await
        .expect("in time")
        .expect("joins");
    assert_eq!(ended.expect_err("refused").code(), Code::InvalidArgument);

    // Users watch, nodes report.
    let mut as_node = FlowServiceClient::new(node.connect().await);
    let refused = as_node.watch_flows(latest("n")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = watcher
        .report_flows(tokio_stream::iter([report([1])]))
        .await;
    assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
}
