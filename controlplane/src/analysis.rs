//! `AnalysisService`: questions about policy, answered by the evaluator and the selector.

mod answers;
mod caveats;
mod staged;

use crate::{
    failure::{internal, of_store},
    hub::Hub,
    resources::PREFIX,
    unreadable::{describe_all, sentence},
};
use answers::{Alternative, Assumed};
use palisade_compile::{compile, effective_labels};
use palisade_model::{
    Kind, Name, Resource, ResourceId, Spec,
    stored::{self, Unreadable},
};
use palisade_policy::{
    evaluate::{Judgement, Verdict},
    frame::Assembler,
    ids::IfName,
    packet::{CtState, Environment, Packet, Way},
    rule::Protocol,
    table::{ItemTable, snapshot},
    view::{Position, View},
    wire::{decode_ops, report_environment},
};
use palisade_proto::v1::{
    self, ExplainRequest, ExplainResponse, SelectRequest, SelectResponse, SelectedResource,
    StagedVerdict, TraceStep, analysis_service_server::AnalysisService,
};
use palisade_selector::Selector;
use palisade_store::{Scan, Store};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};
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
        let packet = packet(&request)?;
        let assumed = Assumed::new(&request.plugins)?;
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
        assumed.check(&view)?;
        let told = Told::new(&assumed, &view, &environment, &packet)?;
        let mut caveats = caveats::caveats(&request.node, &standing, &position);
        caveats.extend(
            self.hub
                .frozen_by(&request.node)
                .map(|why| format!("node `{}` is frozen: {why}", request.node)),
        );
        let preview = self.preview(&request.node, environment, packet, assumed);
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
            verdict: told.verdict.into(),
            reason: told.reason,
            steps: told.steps,
            position: Some((&position).into()),
            rule_id: told.rule_id,
            staged,
            alternatives: told.alternatives,
            caveats,
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
        packet: Packet,
        assumed: Assumed,
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
            Told::new(&assumed, &view, &environment, &packet)
        };
        let told = tokio::task::spawn_blocking(judge)
            .await
            .map_err(|error| internal("the preview failed", &error))??;
        Ok(Ok(Some(StagedVerdict {
            verdict: told.verdict.into(),
            reason: told.reason,
            steps: told.steps,
            alternatives: told.alternatives,
        })))
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

/// What is said of a packet.
struct Told {
    verdict: v1::Verdict,
    reason: String,
    steps: Vec<TraceStep>,
    rule_id: u64,
    alternatives: Vec<v1::Alternative>,
}

impl Told {
    /// By a view on a machine, with what plugins are taken to answer.
    fn new(
        assumed: &Assumed,
        view: &View,
        environment: &Environment,
        packet: &Packet,
    ) -> Result<Self, Status> {
        let found = assumed.alternatives(view, environment, packet)?;
        let described = found.iter().filter(|alternative| alternative.asks());
        let described = described.map(|alternative| assumed.describe(alternative));
        let alternatives = described.collect();
        if let [only] = found.as_slice() {
            let judgement = &only.judgement;
            return Ok(Self {
                verdict: verdict(judgement),
                reason: judgement.reason.to_string(),
                steps: steps(judgement),
                rule_id: judgement.rule.map_or(0, |rule| rule.0),
                alternatives,
            });
        }
        let plugin = found.iter().find_map(Alternative::first).unwrap_or("?");
        let mut verdicts: Vec<_> = found
            .iter()
            .map(|found| verdict(&found.judgement))
            .collect();
        verdicts.dedup();
        let (verdict, reason) = match verdicts.as_slice() {
            [same] => (*same, format!("whatever plugin `{plugin}` answers")),
            _ => (
                v1::Verdict::Depends,
                format!("depends on plugin `{plugin}`"),
            ),
        };
        Ok(Self {
            verdict,
            reason,
            steps: Vec::new(),
            rule_id: 0,
            alternatives,
        })
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

fn packet(request: &ExplainRequest) -> Result<Packet, Status> {
    let invalid = |text: &str| Status::invalid_argument(text.to_owned());
    let interface = |name: &str| (!name.is_empty()).then(|| IfName::new(name));
    let way = match (
        interface(&request.in_interface),
        interface(&request.out_interface),
    ) {
        (Some(from), Some(to)) => Way::Forward { from, to },
        (Some(interface), None) => Way::In { interface },
        (None, Some(interface)) => Way::Out { interface },
        (None, None) => return Err(invalid("in_interface or out_interface is needed")),
    };
    let source =
        address(&request.source).ok_or_else(|| invalid("source has neither 4 nor 16 bytes"))?;
    let destination = address(&request.destination)
        .ok_or_else(|| invalid("destination has neither 4 nor 16 bytes"))?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(invalid("source and destination are of different families"));
    }
    let protocol = u8::try_from(request.protocol)
        .ok()
        .filter(|protocol| *protocol != 0);
    let protocol = Protocol(protocol.ok_or_else(|| invalid("protocol must lie in 1..=255"))?);
    let has_ports = protocol.has_ports() || protocol == Protocol::UDPLITE;
    let port = |port: u32, field: &str| match (has_ports, u16::try_from(port)) {
        (true, Ok(port)) => Ok(Some(port)),
        (false, Ok(0)) => Ok(None),
        (false, Ok(_)) => Err(Status::invalid_argument(format!(
            "{field}: the protocol has no ports"
        ))),
        (_, Err(_)) => Err(Status::invalid_argument(format!(
            "{field} must lie in 0..=65535"
        ))),
    };
    let is_icmp = matches!(protocol, Protocol::ICMP | Protocol::ICMPV6);
    let icmp = match (is_icmp, request.icmp_type, request.icmp_code) {
        (true, Some(kind), code) => {
            let byte = |n: u32| {
                u8::try_from(n).map_err(|_| invalid("ICMP types and codes lie in 0..=255"))
            };
            Some((byte(kind)?, byte(code.unwrap_or(0))?))
        }
        (true, None, _) => return Err(invalid("icmp_type is needed")),
        (false, None, None) => None,
        (false, ..) => return Err(invalid("icmp_type and icmp_code belong to ICMP")),
    };
    Ok(Packet {
        answers: BTreeMap::new(),
        way,
        source,
        destination,
        protocol,
        source_port: port(request.source_port, "source_port")?,
        destination_port: port(request.destination_port, "destination_port")?,
        icmp,
        ct: CtState::New,
        original_destination: None,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

fn verdict(judgement: &Judgement) -> v1::Verdict {
    match judgement.verdict {
        Verdict::Accept => v1::Verdict::Accept,
        Verdict::Drop => v1::Verdict::Drop,
        Verdict::Reject => v1::Verdict::Reject,
    }
}

fn steps(judgement: &Judgement) -> Vec<TraceStep> {
    let steps = judgement.trace.iter().map(|step| TraceStep {
        stage: step.stage.to_string(),
        subject: match &step.endpoint {
            Some(endpoint) => format!("{endpoint}: {}", step.subject),
            None => step.subject.to_string(),
        },
        outcome: step.outcome.to_string(),
    });
    steps.collect()
}
