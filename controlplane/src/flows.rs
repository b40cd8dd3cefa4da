//! `FlowService`: records of what happens on nodes, from those who report to those who watch. In memory only, bounded;
//! nobody who reports ever waits for somebody who watches.

mod board;

use crate::access::Caller;
use board::Board;
use futures_util::{StreamExt as _, stream};
use palisade_proto::v1::{
    ReportFlowsRequest, ReportFlowsResponse, WatchFlowsRequest, WatchFlowsResponse,
    flow_service_server::FlowService,
};
use std::{pin::Pin, sync::Arc};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Most records of one report.
const MOST_RECORDS: usize = 1024;
/// Most records that a watch begins with.
const MOST_LAST: u32 = 10_000;

/// The service.
#[derive(Default)]
pub struct Flows {
    board: Arc<Board>,
}

#[tonic::async_trait]
impl FlowService for Flows {
    type WatchFlowsStream = Pin<Box<dyn Stream<Item = Result<WatchFlowsResponse, Status>> + Send>>;

    async fn report_flows(
        &self,
        request: Request<Streaming<ReportFlowsRequest>>,
    ) -> Result<Response<ReportFlowsResponse>, Status> {
        let node = Caller::of(&request)?.node()?.to_owned();
        let mut reports = request.into_inner();
        while let Some(report) = reports.message().await? {
            if report.records.len() > MOST_RECORDS {
                let message = format!("at most {MOST_RECORDS} records in one report");
                return Err(Status::invalid_argument(message));
            }
            self.board.post(&node, report.records);
        }
        Ok(Response::new(ReportFlowsResponse {}))
    }

    async fn watch_flows(
        &self,
        request: Request<WatchFlowsRequest>,
    ) -> Result<Response<Self::WatchFlowsStream>, Status> {
        let WatchFlowsRequest { node, follow, last } = request.into_inner();
        if last > MOST_LAST {
            let message = format!("last is at most {MOST_LAST}");
            return Err(Status::invalid_argument(message));
        }
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        let (first, watch) = self.board.watch(&node, last);
        let first = stream::iter(first.into_iter().map(Ok));
        if !follow {
            return Ok(Response::new(Box::pin(first)));
        }
        let rest = stream::unfold(watch, |mut watch| async move {
            let batch = watch.next().await?;
            Some((Ok(batch), watch))
        });
        Ok(Response::new(Box::pin(first.chain(rest))))
    }
}
