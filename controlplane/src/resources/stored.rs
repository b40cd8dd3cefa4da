//! Resources between the store and the wire: keys, stamps, versions.

use crate::failure::internal;
use bytes::Bytes;
use jiff::Timestamp;
use palisade_model::{
    Kind, Name, ResourceId,
    stored::{self, StoredResource, Unreadable},
};
use palisade_proto::v1::{Resource, ResourceRef};
use palisade_store::{KeyValue, Revision};
use serde_json::{Value, json};
use tonic::Status;

/// What the server adds to a resource and keeps over its life.
pub(super) struct Stamps {
    uid: String,
    created: String,
    generation: u64,
}

/// The key of a resource.
pub(super) fn key(id: &ResourceId) -> Bytes {
    id.store_key().into()
}

/// The reference as the wire has it.
pub(super) fn reference(id: &ResourceId) -> ResourceRef {
    ResourceRef {
        kind: id.kind.to_string(),
        namespace: id
            .namespace
            .as_ref()
            .map(Name::to_string)
            .unwrap_or_default(),
        name: id.name.to_string(),
    }
}

/// Reads a reference.
pub(super) fn identity(reference: Option<ResourceRef>) -> Result<ResourceId, Status> {
    let reference = reference.ok_or_else(|| Status::invalid_argument("ref is missing"))?;
    let kind = kind(&reference.kind)?;
    let refused =
        |what: &str, text: &str| Status::invalid_argument(format!("`{text}` is not a {what}"));
    let name = Name::new(&reference.name).ok_or_else(|| refused("name", &reference.name))?;
    let namespace = match reference.namespace.as_str() {
        "" => None,
        text => Some(Name::new(text).ok_or_else(|| refused("namespace", text))?),
    };
    if namespace.is_some() != kind.is_namespaced() {
        let rule = if kind.is_namespaced() {
            "needs a"
        } else {
            "belongs to no"
        };
        return Err(Status::invalid_argument(format!(
            "a {kind} {rule} namespace"
        )));
    }
    Ok(ResourceId {
        kind,
        namespace,
        name,
    })
}

/// Reads a kind.
pub(super) fn kind(text: &str) -> Result<Kind, Status> {
    Kind::from_document(text)
        .ok_or_else(|| Status::invalid_argument(format!("unknown kind `{text}`")))
}

/// Reads what stands at a key.
pub(super) fn read(item: &KeyValue) -> Result<StoredResource, Unreadable> {
    stored::read(&item.key, &item.value)
}

/// JSON as it is stored.
pub(super) fn encode(json: &Value) -> Result<Bytes, Status> {
    stored::encode(json)
        .map(Into::into)
        .map_err(|error| internal("cannot encode a resource", &error))
}

/// A resource for the wire: what is stored, with its version.
pub(super) fn present(id: &ResourceId, mut json: Value, version: Revision) -> Resource {
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), version.to_string().into());
    }
    Resource {
        r#ref: Some(reference(id)),
        json: json.to_string().into_bytes(),
        resource_version: version.0,
    }
}

/// What stands at a key, for the wire.
pub(super) fn of_key_value(item: &KeyValue) -> Result<Resource, Unreadable> {
    of_parts(&item.key, &item.value, item.modified)
}

/// As [`of_key_value`].
pub(super) fn of_parts(
    key: &[u8],
    value: &[u8],
    version: Revision,
) -> Result<Resource, Unreadable> {
    let read = stored::read(key, value)?;
    Ok(present(&read.id, read.json, version))
}

// === impl Stamps ===

impl Stamps {
    /// Of a resource that is new.
    pub(super) fn new() -> Self {
        Self {
            uid: uuid::Uuid::new_v4().to_string(),
            created: Timestamp::now()
                .round(jiff::Unit::Second)
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_string(),
            generation: 1,
        }
    }

    /// Of a resource that replaces another version of itself.
    pub(super) fn replacing(old: &Value, new: &Value) -> Self {
        let text = |field: &str| {
            old.pointer(&format!("/metadata/{field}"))?
                .as_str()
                .map(str::to_owned)
        };
        let before = old
            .pointer("/metadata/generation")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        let fresh = Self::new();
        let grows = old.get("spec") != new.get("spec");
        Self {
            uid: text("uid").unwrap_or(fresh.uid),
            created: text("creationTimestamp").unwrap_or(fresh.created),
            generation: before.saturating_add(u64::from(grows)),
        }
    }

    /// Stamps a resource; a version that a client sent is not stored.
    pub(super) fn stamp(self, json: &mut Value) {
        let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        metadata.remove("resourceVersion");
        metadata.insert("uid".to_owned(), self.uid.into());
        metadata.insert("creationTimestamp".to_owned(), self.created.into());
        metadata.insert("generation".to_owned(), self.generation.into());
    }
}

/// The resource of a node that enrols: its key and its value.
pub(crate) fn new_node(name: &str) -> Result<(Bytes, Bytes), Status> {
    let refused = || Status::invalid_argument(format!("`{name}` is not a node name"));
    let id = ResourceId::global(Kind::Node, Name::new(name).ok_or_else(refused)?);
    let json = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "Node",
        "metadata": { "name": name },
        "spec": {},
    });
    let mut json = palisade_model::decode(&json).map_err(|_| refused())?.json;
    Stamps::new().stamp(&mut json);
    Ok((key(&id), encode(&json)?))
}
