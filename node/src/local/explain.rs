//! What becomes of a packet, by what this daemon holds now; no control plane is asked.

use super::{Answer, message::Encoded};
use crate::enforce::{Basis, Reconciler};
use palisade_policy::explain::{Invalid, Question};
use palisade_proto::v1::{ExplainRequest, ExplainResponse};
use std::time::Duration;
use tokio::time::timeout;

/// For the enforcing thread to say what it holds: less than whoever asks has patience.
const BUSY: Duration = Duration::from_secs(8);

/// The thread that enforces is only asked for what it holds. The packet is judged on a thread of its own.
pub(super) async fn explain(reconciler: &Reconciler, request: &ExplainRequest) -> Answer {
    let question = match Question::new(request) {
        Ok(question) => question,
        Err(invalid) => return Answer::Misused(invalid.to_string()),
    };
    let basis = match timeout(BUSY, reconciler.basis()).await {
        Ok(Some(basis)) => basis,
        Ok(None) => return Answer::Failed("the daemon is ending".to_owned()),
        Err(_) => {
            let message =
                "the daemon is busy with the kernel or the disk: ask again, or see `status`";
            return Answer::Failed(message.to_owned());
        }
    };
    match tokio::task::spawn_blocking(move || judge(&question, basis)).await {
        Ok(answer) => answer,
        Err(err) => Answer::Failed(format!("the packet could not be judged: {err}")),
    }
}

fn judge(question: &Question, basis: Basis) -> Answer {
    let Basis {
        view,
        environment,
        caveats,
    } = basis;
    let (view, position) = match view {
        Ok(known) => known,
        Err(stands) => return Answer::Failed(stands),
    };
    let explain = || -> Result<ExplainResponse, Invalid> {
        question.check_plugins(&view)?;
        let explanation = question.explain(&view, &environment)?;
        Ok(explanation.response(&position, caveats))
    };
    match explain() {
        Ok(response) => Answer::Explained(Box::new(Encoded(response))),
        Err(invalid) => Answer::Misused(invalid.to_string()),
    }
}
