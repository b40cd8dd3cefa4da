//! Writes: one transaction per request, tried again while others change the same resources.

use super::{
    Resources,
    plan::{self, Document, Step, Verb},
    stored, untracked,
};
use crate::failure::{contended, of_store};
use futures_util::future::try_join_all;
use palisade_model::{Kind, ResourceId};
use palisade_proto::v1::{
    AppliedResource, ApplyOutcome, ApplyResourcesRequest, ApplyResourcesResponse,
    CreateResourceRequest, CreateResourceResponse, UpdateResourceRequest, UpdateResourceResponse,
};
use palisade_store::{Compare, KeyValue, MAX_OPS, Revision, Txn, TxnOutcome};
use tonic::Status;

/// How often a transaction is tried again when somebody else was faster.
pub(super) const ATTEMPTS: usize = 8;
/// The most documents of one request, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// What became of a request's documents, and the revision it is true at.
pub(super) struct Written {
    steps: Vec<Step>,
    pub(super) revision: Revision,
}

impl Resources {
    pub(super) async fn create(
        &self,
        request: CreateResourceRequest,
    ) -> Result<CreateResourceResponse, Status> {
        let applied = self
            .write_one(request.json, Verb::Create, request.dry_run)
            .await?;
        Ok(CreateResourceResponse {
            resource: applied.resource,
            warnings: applied.warnings,
        })
    }

    pub(super) async fn update(
        &self,
        request: UpdateResourceRequest,
    ) -> Result<UpdateResourceResponse, Status> {
        let applied = self
            .write_one(request.json, Verb::Update, request.dry_run)
            .await?;
        Ok(UpdateResourceResponse {
            resource: applied.resource,
            warnings: applied.warnings,
        })
    }

    async fn write_one(
        &self,
        json: Vec<u8>,
        verb: Verb,
        dry_run: bool,
    ) -> Result<AppliedResource, Status> {
        let (mut applied, _) = self.write_all(&[json], verb, dry_run).await?;
        applied
            .pop()
            .ok_or_else(|| Status::internal("nothing was written"))
    }

    pub(super) async fn apply(
        &self,
        request: ApplyResourcesRequest,
    ) -> Result<ApplyResourcesResponse, Status> {
        if request.json.iter().map(Vec::len).sum::<usize>() > MOST_BYTES {
            return Err(Status::resource_exhausted(
                "more than 64 MiB in one request",
            ));
        }
        let (resources, revision) = self
            .write_all(&request.json, Verb::Apply, request.dry_run)
            .await?;
        Ok(ApplyResourcesResponse {
            resources,
            revision: revision.0,
        })
    }

    async fn write_all(
        &self,
        json: &[Vec<u8>],
        verb: Verb,
        dry_run: bool,
    ) -> Result<(Vec<AppliedResource>, Revision), Status> {
        if json.len() > MAX_OPS {
            return Err(Status::resource_exhausted(format!(
                "{} resources in one request, at most {MAX_OPS} are written in one commit",
                json.len()
            )));
        }
        let mut documents = plan::decode(json)?;
        self.warn_of_failsafes(&mut documents).await?;
        let written = self.commit(&documents, verb, dry_run, &[]).await?;
        let answer = |(document, step)| describe(document, step, written.revision);
        let resources = documents.iter().zip(&written.steps).map(answer).collect();
        Ok((resources, written.revision))
    }

    /// Writes documents in one transaction, if all of `also` holds too.
    pub(super) async fn commit(
        &self,
        documents: &[Document],
        verb: Verb,
        dry_run: bool,
        also: &[Compare],
    ) -> Result<Written, Status> {
        let (_exclusive, _shared);
        let untracked = untracked::concerns(documents);
        let is_plugin = |document: &Document| document.id.kind == Kind::Plugin;
        if untracked || documents.iter().any(is_plugin) {
            _exclusive = self.referents.write().await;
            if untracked {
                self.refuse_untracked_default(documents).await?;
            }
        } else {
            _shared = self.referents.read().await;
        }
        for _ in 0..ATTEMPTS {
            let (steps, mut txn) = self.plan(documents, verb).await?;
            // Nothing to do is true of what was read, at whatever revision the store is by now.
            if dry_run || txn.then.is_empty() {
                let identity = self.store.identity().await.map_err(of_store)?;
                return Ok(Written {
                    steps,
                    revision: identity.revision,
                });
            }
            txn.compare.extend_from_slice(also);
            match self.store.txn(txn).await.map_err(of_store)? {
                TxnOutcome::Committed { revision } => return Ok(Written { steps, revision }),
                TxnOutcome::Failed { .. } => {}
            }
        }
        Err(contended())
    }

    /// Judges documents against what is stored now.
    async fn plan(&self, documents: &[Document], verb: Verb) -> Result<(Vec<Step>, Txn), Status> {
        let stored = documents
            .iter()
            .map(|document| self.store.get(&document.key, None));
        let stored = try_join_all(stored).await.map_err(of_store)?;
        let judged = self.judge_plugins(documents).await?;
        let mut txn = Txn::default();
        let mut steps = Vec::with_capacity(documents.len());
        for (document, current) in documents.iter().zip(&stored) {
            let step = document.step(verb, current.as_ref(), judged.size(&document.id))?;
            let (compare, op) = step.transaction(&document.key)?;
            txn.compare.push(compare);
            txn.then.extend(op);
            steps.push(step);
        }
        let tiers = plan::referenced_tiers(documents);
        let found = tiers.iter().map(|tier| self.find(tier));
        let found = try_join_all(found).await?;
        let missing = tiers
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none());
        let missing: std::collections::BTreeSet<ResourceId> =
            missing.map(|(tier, _)| tier.clone()).collect();
        if !missing.is_empty() {
            return Err(plan::missing_tiers(documents, &missing));
        }
        let present = tiers.iter().map(|tier| Compare::Present(stored::key(tier)));
        txn.compare.extend(present);
        txn.compare.extend(judged.compare);
        Ok((steps, txn))
    }

    pub(super) async fn find(&self, id: &ResourceId) -> Result<Option<KeyValue>, Status> {
        self.store
            .get(&stored::key(id), None)
            .await
            .map_err(of_store)
    }
}

/// What became of one document, when `revision` was committed.
fn describe(document: &Document, step: &Step, revision: Revision) -> AppliedResource {
    let (outcome, version) = match step {
        Step::Keep(_, current) => (ApplyOutcome::Unchanged, current.modified),
        Step::Create(_) => (ApplyOutcome::Created, revision),
        Step::Replace(..) => (ApplyOutcome::Configured, revision),
    };
    AppliedResource {
        resource: Some(stored::present(&document.id, step.json().clone(), version)),
        outcome: outcome.into(),
        warnings: document.warnings.clone(),
    }
}
