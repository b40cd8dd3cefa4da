//! `AnalysisService`: questions about policy, answered by the evaluator and the selector.

mod caveats;
mod staged;

use crate::{
    failure::{internal, of_store},
    hub::Hub,
    resources::PREFIX,
    unreadable::{describe_all, sentence},
};
use palisade_compile::{compile, effective_labels};
use palisade_model::{
    Kind, Name, Resource, ResourceId, Spec,
    stored::{self, Unreadable},
};
use palisade_policy::{
    explain::{Invalid, Question},
    frame::Assembler,
    packet::Environment,
    table::{ItemTable, snapshot},
    view::{Position, View},
    wire::{decode_ops, report_environment},
};
use palisade_proto::v1::{
    ExplainRequest, ExplainResponse, SelectRequest, SelectResponse, SelectedResource,
    StagedVerdict, analysis_service_server::AnalysisService,
};
use palisade_selector::Selector;
use palisade_store::{Scan, Store};
use std::{collections::BTreeMap, sync::Arc};
use tonic::{Request, Response, Status};

/// Kinds that selectors pick, in order of the answer.
const SELECTED: [Kind; 4] = [
    Kind::HostEndpoint,
    Kind::WorkloadEndpoint,
    Kind::GlobalNetworkSet,
    Kind::NetworkSet,
];

/// The service.
pub struct Analysis {
    /// Has the views.
    pub hub: Arc<Hub>,
    /// Has the labels.
    pub store: Arc<dyn Store>,
}

#[tonic::async_trait]
impl AnalysisService for Analysis {
    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let request = request.into_inner();
        let mut standing = self
            .hub
            .standing(&request.node)
            .ok_or_else(|| Status::not_found(format!("there is no node `{}`", request.node)))?;
        let question = Question::new(&request).map_err(invalid)?;
        let (position, table) = standing.acknowledged.take().ok_or_else(|| {
            Status::failed_precondition(format!(
                "node `{}` has not acknowledged any view yet",
                request.node
            ))
        })?;
        let environment = match &standing.report {
            Some(report) => report_environment(report).map_err(|error| {
                Status::failed_precondition(format!("the node's report is malformed: {error}"))
            })?,
            None => Environment::default(),
        };
        let view = view(&table, &position)
            .ok_or_else(|| Status::internal("the acknowledged view cannot be read"))?;
        question.check_plugins(&view).map_err(invalid)?;
        let explanation = question.explain(&view, &environment).map_err(invalid)?;
        let mut caveats = caveats::caveats(&request.node, &standing, &position);
        caveats.extend(
            self.hub
                .frozen_by(&request.node)
                .map(|why| format!("node `{}` is frozen: {why}", request.node)),
        );
        let preview = self.preview(&request.node, environment, question);
        let staged = match preview.await? {
            Ok(staged) => staged,
            Err(rows) => {
                let told = sentence(&rows, rows.len());
                caveats.push(format!(
                    "what staged policies would do is not known: {told}"
                ));
                None
            }
        };
        Ok(Response::new(ExplainResponse {
            staged,
            ..explanation.response(&position, caveats)
        }))
    }

    async fn select(
        &self,
        request: Request<SelectRequest>,
    ) -> Result<Response<SelectResponse>, Status> {
        let selector = Selector::parse(&request.into_inner().selector)
            .map_err(|error| Status::invalid_argument(format!("selector: {error}")))?;
        let mut profiles = BTreeMap::new();
        let read = self.read([Kind::Profile]).await?;
        let mut unreadable = read.unreadable;
        for (id, resource) in read.resources {
            if let Spec::Profile(profile) = resource.spec {
                profiles.insert(id.name, profile);
            }
        }
        let mut resources = Vec::new();
        for kind in SELECTED {
            let read = self.read([kind]).await?;
            unreadable.extend(read.unreadable);
            for (id, resource) in read.resources {
                let labels = effective_labels(&resource, |name| profiles.get(name));
                if labels.is_some_and(|labels| selector.matches(&labels)) {
                    resources.push(SelectedResource {
                        kind: kind.to_string(),
                        namespace: id
                            .namespace
                            .as_ref()
                            .map(Name::to_string)
                            .unwrap_or_default(),
                        name: id.name.to_string(),
                    });
                }
            }
        }
        Ok(Response::new(SelectResponse {
            resources,
            unreadable: describe_all(&unreadable),
        }))
    }
}

/// Stored resources, of some kinds.
#[derive(Default)]
struct Read {
    resources: Vec<(ResourceId, Resource)>,
    unreadable: Vec<Unreadable>,
}

impl Analysis {
    /// What would become of the packet with every staged policy in force; `None` where there is none. The inner error:
    /// rows that cannot be read, without which a preview would be another.
    async fn preview(
        &self,
        node: &str,
        environment: Environment,
        question: Question,
    ) -> Result<Result<Option<StagedVerdict>, Vec<Unreadable>>, Status> {
        let staged = self.read(staged::STAGED).await?;
        let is_none = staged.resources.is_empty() && staged.unreadable.is_empty();
        let Some(node) = Name::new(node).filter(|_| !is_none) else {
            return Ok(Ok(None));
        };
        let others = Kind::ALL.into_iter();
        let others = others.filter(|kind| !staged::STAGED.contains(kind));
        let others = self.read(others).await?;
        let unreadable = [staged.unreadable, others.unreadable].concat();
        if !unreadable.is_empty() {
            return Ok(Err(unreadable));
        }
        let mut resources = staged.resources;
        resources.extend(others.resources);
        let judge = move || {
            let view = compile(&staged::world(resources), &node);
            question.explain(&view, &environment)
        };
        let explanation = tokio::task::spawn_blocking(judge)
            .await
            .map_err(|error| internal("the preview failed", &error))?
            .map_err(invalid)?;
        Ok(Ok(Some(explanation.staged())))
    }

    async fn read(&self, kinds: impl IntoIterator<Item = Kind>) -> Result<Read, Status> {
        let mut found = Read::default();
        for kind in kinds {
            let mut scan = Scan::new(&*self.store, format!("{PREFIX}{kind}/"));
            while let Some(items) = scan.next().await.map_err(of_store)? {
                for item in &items {
                    match stored::read(&item.key, &item.value) {
                        Ok(read) => found.resources.push((read.id, read.resource)),
                        Err(row) => found.unreadable.push(row),
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The view behind items, read as a node reads it.
fn view(table: &ItemTable, position: &Position) -> Option<View> {
    let ops = snapshot(table);
    let bytes = ops.iter().map(|op| op.len() as u64).sum();
    let mut assembler = Assembler::new(bytes, bytes).ok()?;
    for op in &ops {
        assembler.push(op).ok()?;
    }
    let ops = decode_ops(assembler.finish().ok()?).ok()?;
    let held = palisade_policy::delta::Held::from_snapshot(ops, &position.digest).ok()?;
    Some(held.view().clone())
}

fn invalid(error: Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}
