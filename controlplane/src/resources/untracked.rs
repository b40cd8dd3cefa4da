//! Untracked policy has no say at a `*` endpoint (specification §5.1): a write after which it selects one is refused,
//! because what it asks for would not happen.

use super::{PREFIX, Resources, plan::Document, problems, stored};
use crate::failure::of_store;
use palisade_compile::{effective_labels, policy_subject};
use palisade_model::{
    HostInterface, Kind, Name, PolicyStage, ProfileSpec, Resource, ResourceId, Spec,
};
use palisade_store::Scan;
use std::{borrow::Cow, collections::BTreeMap};
use tonic::Status;
use tonic_types::PreconditionViolation;

/// The most pairs that a refusal names.
const MOST: usize = 10;

/// A resource as it will stand; with the document that writes it, if one does.
struct Standing<'a> {
    resource: Cow<'a, Resource>,
    document: Option<&'a Document>,
}

/// Whether such a write can make untracked policy select a `*` endpoint.
pub(super) fn concerns(documents: &[Document]) -> bool {
    let concerns = |document: &Document| {
        let resource = document.resource();
        resource.kind() == Kind::Profile || is_untracked(resource) || is_default(resource)
    };
    documents.iter().any(concerns)
}

fn is_untracked(resource: &Resource) -> bool {
    matches!(&resource.spec, Spec::GlobalNetworkPolicy(spec) if spec.stage == PolicyStage::Untracked)
}

fn is_default(resource: &Resource) -> bool {
    matches!(&resource.spec, Spec::HostEndpoint(spec) if spec.interface == Some(HostInterface::Any))
}

fn profiles_of(resource: &Resource) -> &[Name] {
    match &resource.spec {
        Spec::HostEndpoint(spec) => &spec.profiles,
        _ => &[],
    }
}

impl Resources {
    /// Refuses documents by which untracked policy selects a `*` endpoint. The caller keeps other writers out.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` for each such pair that a document is part of; the store's.
    pub(super) async fn refuse_untracked_default(
        &self,
        documents: &[Document],
    ) -> Result<(), Status> {
        let written: BTreeMap<&ResourceId, &Document> =
            documents.iter().map(|d| (&d.id, d)).collect();
        let mut policies = standing(documents, is_untracked);
        let mut endpoints = standing(documents, is_default);
        let profile = |name: &Name| {
            let id = ResourceId::global(Kind::Profile, name.clone());
            written.get(&id).copied()
        };
        if !policies.is_empty() || written.keys().any(|id| id.kind == Kind::Profile) {
            let stored = self.like(Kind::HostEndpoint, br#""interfaceName":"*""#);
            endpoints.extend(others(stored.await?, &written, is_default));
        }
        let relabelled = |endpoint: &Standing<'_>| {
            let profiles = profiles_of(&endpoint.resource);
            profiles.iter().find_map(profile)
        };
        let touched = |e: &Standing<'_>| e.document.is_some() || relabelled(e).is_some();
        if endpoints.iter().any(touched) {
            let stored = self.like(Kind::GlobalNetworkPolicy, br#""doNotTrack":true"#);
            policies.extend(others(stored.await?, &written, is_untracked));
        }
        let mut violations = Vec::new();
        for endpoint in &endpoints {
            let profiles = self
                .profiles_as_written(&endpoint.resource, &written)
                .await?;
            let labels = effective_labels(&endpoint.resource, |name| profiles.get(name));
            let labels = labels.unwrap_or_default();
            for policy in &policies {
                let subject = policy_subject(&policy.resource);
                if !subject.is_some_and(|subject| subject.matches(&labels)) {
                    continue;
                }
                let by = [
                    (policy.document, "spec.doNotTrack"),
                    (endpoint.document, "spec.interfaceName"),
                    (relabelled(endpoint), "spec.labelsToApply"),
                ];
                let blamed = by.into_iter().find_map(|(d, field)| Some((d?, field)));
                if let Some((document, field)) = blamed {
                    violations.push(violation(document, field, policy, endpoint));
                }
            }
        }
        violations.truncate(MOST);
        match violations.is_empty() {
            true => Ok(()),
            false => Err(problems::precondition(violations)),
        }
    }

    /// Stored resources of a kind whose text has these bytes. Those that cannot be read are left out: what is refused or
    /// warned about with them does no harm, for it has no effect.
    pub(super) async fn like(&self, kind: Kind, bytes: &[u8]) -> Result<Vec<Resource>, Status> {
        let mut scan = Scan::new(&*self.store, format!("{PREFIX}{kind}/"));
        let mut found = Vec::new();
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in &items {
                if item.value.windows(bytes.len()).any(|part| part == bytes) {
                    found.extend(stored::read(item).map(|read| read.resource));
                }
            }
        }
        Ok(found)
    }

    /// The profiles of an endpoint as they will stand.
    async fn profiles_as_written(
        &self,
        endpoint: &Resource,
        written: &BTreeMap<&ResourceId, &Document>,
    ) -> Result<BTreeMap<Name, ProfileSpec>, Status> {
        let mut found = BTreeMap::new();
        for name in profiles_of(endpoint) {
            let id = ResourceId::global(Kind::Profile, name.clone());
            let spec = match written.get(&id) {
                Some(document) => Some(document.resource().spec.clone()),
                None => match self.find(&id).await? {
                    // As in `like`.
                    Some(item) => stored::read(&item).ok().map(|read| read.resource.spec),
                    None => None,
                },
            };
            if let Some(Spec::Profile(spec)) = spec {
                found.insert(name.clone(), spec);
            }
        }
        Ok(found)
    }
}

fn standing(documents: &[Document], is: fn(&Resource) -> bool) -> Vec<Standing<'_>> {
    let of = |document| Standing {
        resource: Cow::Borrowed(Document::resource(document)),
        document: Some(document),
    };
    let of_kind = documents.iter().filter(|document| is(document.resource()));
    of_kind.map(of).collect()
}

/// What is stored and stays.
fn others<'a>(
    stored: Vec<Resource>,
    written: &BTreeMap<&ResourceId, &Document>,
    is: fn(&Resource) -> bool,
) -> Vec<Standing<'a>> {
    let stays = stored
        .into_iter()
        .filter(|resource| is(resource) && !written.contains_key(&resource.id()));
    let of = |resource| Standing {
        resource: Cow::Owned(resource),
        document: None,
    };
    stays.map(of).collect()
}

fn violation(
    document: &Document,
    field: &str,
    policy: &Standing<'_>,
    endpoint: &Standing<'_>,
) -> PreconditionViolation {
    let message = format!(
        "{} is untracked and would select {}, but untracked policy has no say at `*` endpoints: narrow its selector, or \
         give the interface a host endpoint by name",
        policy.resource.id(),
        endpoint.resource.id(),
    );
    PreconditionViolation::new("UNTRACKED_DEFAULT_ENDPOINT", document.field(field), message)
}
