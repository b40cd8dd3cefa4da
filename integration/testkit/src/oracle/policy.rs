//! Which policies apply to an endpoint, in which list, and in what order (§2.4, §2.6, §4.1, §4.2, §4.4).

use super::endpoint::{Endpoint, NAMESPACE, SERVICE_ACCOUNT};
use crate::document::{Body, Direction, Policy, Rule, World};
use crate::selector::{Expression, Selector};
use std::cmp::Ordering;

/// The lists of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "words of the specification")]
pub enum List {
    Normal,
    Forward,
    Untracked,
    PreDnat,
}

/// A policy, with what is inferred.
pub(super) struct Ordered {
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// Empty for global ones.
    pub(super) namespace: String,
    pub(super) is_staged: bool,
    pub(super) tier: String,
    pub(super) types: Vec<Direction>,
    subject: Expression,
    pub(super) spec: Policy,
}

/// A tier that exists.
pub(super) struct KnownTier {
    pub(super) name: String,
    /// Absent: after everything.
    pub(super) order: Option<f64>,
    pub(super) passes: bool,
}

/// Tiers, the built-in ones too, in order.
pub(super) fn tiers(world: &World) -> Vec<KnownTier> {
    let tier = |name: &str, order: Option<f64>, passes| KnownTier {
        name: name.to_owned(),
        order,
        passes,
    };
    let mut all = vec![
        tier("default", Some(1_000_000.0), false),
        tier("kube-admin", Some(1_000.0), true),
        tier("kube-baseline", Some(10_000_000.0), true),
    ];
    for document in &world.documents {
        if let Body::Tier(spec) = &document.body {
            let name = &document.metadata.name;
            all.retain(|known| known.name != *name);
            let passes = spec.default_action.as_deref() == Some("Pass");
            all.push(tier(name, spec.order, passes));
        }
    }
    all.sort_by(|a, b| last(a.order, b.order).then_with(|| a.name.cmp(&b.name)));
    all
}

/// Ascending; what is absent comes last.
fn last(a: Option<f64>, b: Option<f64>) -> Ordering {
    let value = |order: Option<f64>| order.unwrap_or(f64::INFINITY);
    value(a).partial_cmp(&value(b)).unwrap_or(Ordering::Equal)
}

/// Every policy, in the order of §4.1 within a tier.
pub(super) fn policies(world: &World) -> Vec<Ordered> {
    let mut all: Vec<Ordered> = world
        .documents
        .iter()
        .filter_map(|document| {
            let (spec, is_staged) = match &document.body {
                Body::GlobalNetworkPolicy(spec) | Body::NetworkPolicy(spec) => (spec, false),
                Body::StagedGlobalNetworkPolicy(spec) | Body::StagedNetworkPolicy(spec) => {
                    (spec, true)
                }
                _ => return None,
            };
            // Not a policy, but the announcement that one goes away (§1.5).
            if spec.staged_action.as_deref() == Some("Delete") {
                return None;
            }
            let namespace = document.metadata.namespace.clone();
            Some(Ordered {
                kind: document.kind(),
                name: document.metadata.name.clone(),
                is_staged,
                tier: spec.tier.clone().unwrap_or("default".to_owned()),
                types: types(spec),
                subject: subject(spec, &namespace),
                namespace,
                spec: spec.clone(),
            })
        })
        .collect();
    let tie = |p: &Ordered| format!("{}/{}/{}", p.name, p.namespace, p.kind);
    all.sort_by(|a, b| last(a.spec.order, b.spec.order).then_with(|| tie(a).cmp(&tie(b))));
    all
}

/// §4.4.
fn types(spec: &Policy) -> Vec<Direction> {
    if !spec.types.is_empty() {
        return spec.types.clone();
    }
    match (spec.ingress.is_empty(), spec.egress.is_empty()) {
        (_, true) => vec![Direction::Ingress],
        (true, false) => vec![Direction::Egress],
        (false, false) => vec![Direction::Ingress, Direction::Egress],
    }
}

/// §2.6, first part: the selector of a policy, with its namespace and account selectors folded in.
fn subject(spec: &Policy, namespace: &str) -> Expression {
    let mut all = vec![said(spec.selector.as_ref()).unwrap_or(Expression::All)];
    if !namespace.is_empty() {
        all.push(Expression::Is(NAMESPACE.to_owned(), namespace.to_owned()));
    }
    if let Some(selector) = said(spec.namespace_selector.as_ref()) {
        all.push(in_namespaces(&selector));
    }
    if let Some(selector) = said(spec.service_account_selector.as_ref()) {
        all.push(of_accounts(&selector));
    }
    Expression::And(all)
}

/// A selector that says something; the empty text is none.
pub(super) fn said(selector: Option<&Selector>) -> Option<Expression> {
    let selector = selector.filter(|selector| !selector.text().is_empty());
    selector.map(|selector| selector.expression.clone())
}

/// Things in namespaces that a selector picks. Deviation: a negative one does not reach what has no namespace.
pub(super) fn in_namespaces(selector: &Expression) -> Expression {
    let has = Expression::Has(NAMESPACE.to_owned());
    Expression::And(vec![has.clone(), selector.prefixed("pcns.", &has)])
}

/// Things with service accounts that a selector picks.
pub(super) fn of_accounts(selector: &Expression) -> Expression {
    selector.prefixed("pcsa.", &Expression::Has(SERVICE_ACCOUNT.to_owned()))
}

impl Ordered {
    pub(super) fn selects(&self, endpoint: &Endpoint) -> bool {
        self.subject.is_true_of(&endpoint.labels)
    }

    /// §4.2.
    pub(super) fn is_in(&self, list: List, endpoint: &Endpoint) -> bool {
        let Policy {
            do_not_track,
            pre_dnat,
            apply_on_forward,
            ..
        } = self.spec;
        match list {
            List::Untracked => do_not_track && endpoint.is_host,
            List::PreDnat => pre_dnat && endpoint.is_host,
            List::Forward => apply_on_forward && !do_not_track && !pre_dnat && endpoint.is_host,
            List::Normal => !do_not_track && !pre_dnat,
        }
    }

    pub(super) fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.spec.ingress,
            Direction::Egress => &self.spec.egress,
        }
    }
}
