//! `NamespaceService`: namespaces and identities of orchestrators, kept as the profiles whose labels their workloads
//! inherit (`kns.<namespace>`, `ksa.<namespace>.<identity>`), so that Calico's own files mean the same.

use crate::{resources::Resources, unreadable::describe_all};
use palisade_model::{Name, ProfileSpec};
use palisade_proto::v1::{
    DeleteIdentityRequest, DeleteIdentityResponse, DeleteNamespaceRequest, DeleteNamespaceResponse,
    Identity, ListIdentitiesRequest, ListIdentitiesResponse, ListNamespacesRequest,
    ListNamespacesResponse, Namespace, NamespaceDefault, PutIdentityRequest, PutIdentityResponse,
    PutNamespaceRequest, PutNamespaceResponse, namespace_service_server::NamespaceService,
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tonic::{Request, Response, Status};

/// The label that says which namespace or identity it is, after its prefix.
const NAME_LABEL: &str = "projectcalico.org/name";
/// Before labels of namespaces.
const OF_NAMESPACE: &str = "pcns.";
/// Before labels of identities.
const OF_IDENTITY: &str = "pcsa.";
/// Longest name of a namespace: it has no dots, so that profiles say where the identity begins.
const LONGEST: usize = 63;

/// The service.
pub struct Namespaces {
    /// Has the profiles.
    pub resources: Arc<Resources>,
}

#[tonic::async_trait]
impl NamespaceService for Namespaces {
    async fn put_namespace(
        &self,
        request: Request<PutNamespaceRequest>,
    ) -> Result<Response<PutNamespaceResponse>, Status> {
        let namespace = request.into_inner().namespace.unwrap_or_default();
        let profile = profile_of_namespace(&namespace.name)?;
        let mut spec = json!({
            "labelsToApply": labels(OF_NAMESPACE, &namespace.name, namespace.labels.clone())?,
        });
        let default = NamespaceDefault::try_from(namespace.default_action)
            .map_err(|_| Status::invalid_argument("default_action is none of this version"))?;
        match default {
            NamespaceDefault::Unspecified | NamespaceDefault::Allow => {
                spec["ingress"] = json!([{ "action": "Allow" }]);
                spec["egress"] = json!([{ "action": "Allow" }]);
            }
            NamespaceDefault::Deny => {}
        }
        let revision = self.resources.put_profile(&profile, spec, None).await?.0;
        Ok(Response::new(PutNamespaceResponse { profile, revision }))
    }

    async fn list_namespaces(
        &self,
        _: Request<ListNamespacesRequest>,
    ) -> Result<Response<ListNamespacesResponse>, Status> {
        let profiles = self.resources.profiles("kns.").await?;
        let unreadable = describe_all(&profiles.unreadable);
        let namespaces = profiles.readable.into_iter().filter_map(|(name, spec)| {
            let name = name.as_str().strip_prefix("kns.")?;
            is_namespace(name).then(|| describe_namespace(name, &spec))
        });
        Ok(Response::new(ListNamespacesResponse {
            namespaces: namespaces.collect(),
            unreadable,
        }))
    }

    async fn delete_namespace(
        &self,
        request: Request<DeleteNamespaceRequest>,
    ) -> Result<Response<DeleteNamespaceResponse>, Status> {
        let name = request.into_inner().name;
        let profile = profile_of_namespace(&name)?;
        let identities = format!("ksa.{name}.");
        let revision = self
            .resources
            .delete_profiles(&profile, Some(&identities))
            .await?;
        Ok(Response::new(DeleteNamespaceResponse {
            revision: revision.0,
        }))
    }

    async fn put_identity(
        &self,
        request: Request<PutIdentityRequest>,
    ) -> Result<Response<PutIdentityResponse>, Status> {
        let identity = request.into_inner().identity.unwrap_or_default();
        let namespace = profile_of_namespace(&identity.namespace)?;
        let profile = profile_of_identity(&identity.namespace, &identity.name)?;
        let labels = labels(OF_IDENTITY, &identity.name, identity.labels)?;
        let spec = json!({ "labelsToApply": labels });
        let written = self
            .resources
            .put_profile(&profile, spec, Some(&namespace))
            .await?;
        Ok(Response::new(PutIdentityResponse {
            profile,
            revision: written.0,
        }))
    }

    async fn list_identities(
        &self,
        request: Request<ListIdentitiesRequest>,
    ) -> Result<Response<ListIdentitiesResponse>, Status> {
        let prefix = match request.into_inner().namespace.as_str() {
            "" => "ksa.".to_owned(),
            namespace => {
                profile_of_namespace(namespace)?;
                format!("ksa.{namespace}.")
            }
        };
        let profiles = self.resources.profiles(&prefix).await?;
        let unreadable = describe_all(&profiles.unreadable);
        let mut identities: Vec<Identity> = profiles
            .readable
            .into_iter()
            .filter_map(|(name, spec)| describe_identity(&name, &spec))
            .collect();
        identities.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        Ok(Response::new(ListIdentitiesResponse {
            identities,
            unreadable,
        }))
    }

    async fn delete_identity(
        &self,
        request: Request<DeleteIdentityRequest>,
    ) -> Result<Response<DeleteIdentityResponse>, Status> {
        let DeleteIdentityRequest { namespace, name } = request.into_inner();
        let profile = profile_of_identity(&namespace, &name)?;
        let revision = self.resources.delete_profiles(&profile, None).await?;
        Ok(Response::new(DeleteIdentityResponse {
            revision: revision.0,
        }))
    }
}

fn is_namespace(name: &str) -> bool {
    Name::new(name).is_some() && !name.contains('.') && name.len() <= LONGEST
}

fn profile_of_namespace(name: &str) -> Result<String, Status> {
    if is_namespace(name) {
        return Ok(format!("kns.{name}"));
    }
    Err(Status::invalid_argument(format!(
        "`{name}` is not a namespace: at most {LONGEST} of `a-z`, `0-9` and `-`, without dots"
    )))
}

fn profile_of_identity(namespace: &str, name: &str) -> Result<String, Status> {
    profile_of_namespace(namespace)?;
    if Name::new(name).is_none() {
        return Err(Status::invalid_argument(format!(
            "`{name}` is not an identity: lower-case `a-z`, `0-9`, `-` and `.`"
        )));
    }
    Ok(format!("ksa.{namespace}.{name}"))
}

/// Labels as workloads inherit them. Whether they are labels at all is for the model.
fn labels(
    prefix: &str,
    name: &str,
    given: BTreeMap<String, String>,
) -> Result<Map<String, Value>, Status> {
    if given.get(NAME_LABEL).is_some_and(|value| value != name) {
        return Err(Status::invalid_argument(format!(
            "label `{NAME_LABEL}` is the name, and nothing else"
        )));
    }
    let given = given
        .into_iter()
        .chain([(NAME_LABEL.to_owned(), name.to_owned())]);
    Ok(given
        .map(|(key, value)| (format!("{prefix}{key}"), json!(value)))
        .collect())
}

/// Labels as they were registered.
fn registered(prefix: &str, spec: &ProfileSpec) -> BTreeMap<String, String> {
    let labels = spec.labels_to_apply.iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(prefix)?;
        (key != NAME_LABEL).then(|| (key.to_owned(), value.clone()))
    });
    labels.collect()
}

fn describe_namespace(name: &str, spec: &ProfileSpec) -> Namespace {
    let denies = spec.ingress.is_empty() && spec.egress.is_empty();
    let default = if denies {
        NamespaceDefault::Deny
    } else {
        NamespaceDefault::Allow
    };
    Namespace {
        name: name.to_owned(),
        labels: registered(OF_NAMESPACE, spec),
        default_action: default.into(),
    }
}

fn describe_identity(profile: &Name, spec: &ProfileSpec) -> Option<Identity> {
    let (namespace, name) = profile.as_str().strip_prefix("ksa.")?.split_once('.')?;
    Some(Identity {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: registered(OF_IDENTITY, spec),
    })
}
