//! The way of our messages into the stream.

use palisade_proto::v1::StreamViewRequest;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;

/// Requests that wait to be sent; the session waits when it is full.
const QUEUE: usize = 16;

/// Sends, in order.
pub(super) struct Requests(mpsc::Sender<StreamViewRequest>);

/// The control plane takes no message any more.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Stuck;

impl Requests {
    /// A queue with the first request in it, and its other end.
    pub(super) fn begin(first: StreamViewRequest) -> (Self, ReceiverStream<StreamViewRequest>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        // Room for one is there.
        let _ = sender.try_send(first);
        (Self(sender), ReceiverStream::new(receiver))
    }

    /// Sends, or waits for room until then: whoever waits here does not hear that the control plane has fallen silent.
    /// Nothing is sent into a stream that ended; what comes from it next says why it ended.
    pub(super) async fn send(
        &self,
        request: StreamViewRequest,
        until: Instant,
    ) -> Result<(), Stuck> {
        match timeout_at(until, self.0.send(request)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stuck),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_noticed_and_one_that_takes_is_sent_everything() {
        let request = StreamViewRequest::default;
        let (requests, mut taken) = Requests::begin(request());
        let until = Instant::now() + Duration::from_secs(60);
        let now = Instant::now();
        for _ in 1..QUEUE {
            assert_eq!(requests.send(request(), until).await, Ok(()));
        }
        assert_eq!(requests.send(request(), now).await, Err(Stuck));
        assert!(taken.next().await.is_some());
        assert_eq!(requests.send(request(), until).await, Ok(()));
        drop(taken);
        let ended = requests.send(request(), until);
        assert_eq!(ended.await, Ok(()), "why it ended is said by the stream");
    }
}
