//! Resources that always exist: three tiers, the profile that allows everything, and what the cluster says of itself.

use super::stored::{self, Stamps};
use crate::failure::of_store;
use palisade_model::{
    BUILT_IN_TIERS, CLUSTER_INFORMATION, DEFAULT_ALLOW_PROFILE, Kind, Name, ResourceId,
};
use palisade_store::{Compare, Op, Store, Txn};
use serde_json::{Value, json};
use tonic::Status;

/// Whether a resource is built in, and so cannot be deleted.
pub(super) fn is_built_in(id: &ResourceId) -> bool {
    match id.kind {
        Kind::Tier => BUILT_IN_TIERS
            .iter()
            .any(|(name, _)| *name == id.name.as_str()),
        Kind::Profile => id.name.as_str() == DEFAULT_ALLOW_PROFILE,
        kind => kind.is_read_only(),
    }
}

fn documents() -> Vec<(Kind, &'static str, Value)> {
    let tiers = BUILT_IN_TIERS.iter().map(|(name, tier)| {
        let spec = json!({
            "order": tier.order.unwrap_or_default(),
            "defaultAction": format!("{:?}", tier.default_action),
        });
        (Kind::Tier, *name, spec)
    });
    let allow = json!({ "ingress": [{ "action": "Allow" }], "egress": [{ "action": "Allow" }] });
    // Written so that they can be read, edited and applied; without them every setting has its default all the same.
    let settings = (Kind::FelixConfiguration, "default", json!({}));
    tiers
        .chain([(Kind::Profile, DEFAULT_ALLOW_PROFILE, allow), settings])
        .collect()
}

/// Creates what is missing. Any number of replicas may do so at once.
///
/// # Errors
/// The store's.
pub async fn install(store: &dyn Store) -> Result<(), Status> {
    for (kind, name, spec) in documents() {
        install_one(store, kind, name, |old| match old {
            Some(_) => None,
            None => Some(spec),
        })
        .await?;
    }
    install_one(
        store,
        Kind::ClusterInformation,
        CLUSTER_INFORMATION,
        |old| Some(cluster_information(old)),
    )
    .await
}

/// Calico's words for what there is: whose cluster it is, made by what, and that nodes may follow the store. The
/// identity outlives versions, and restored backups.
fn cluster_information(old: Option<&Value>) -> Value {
    let mut spec = old.cloned().unwrap_or_else(|| {
        let guid = uuid::Uuid::new_v4().simple().to_string();
        json!({ "clusterGUID": guid, "datastoreReady": true })
    });
    spec["clusterType"] = json!("palisade");
    spec["calicoVersion"] = json!(concat!("palisade-v", env!("CARGO_PKG_VERSION")));
    spec
}

/// Writes what `spec` makes of the stored spec, unless that is the same.
async fn install_one(
    store: &dyn Store,
    kind: Kind,
    name: &str,
    spec: impl FnOnce(Option<&Value>) -> Option<Value>,
) -> Result<(), Status> {
    let refused = || Status::internal(format!("built-in {kind} `{name}` is not valid"));
    let id = ResourceId::global(kind, Name::new(name).ok_or_else(refused)?);
    let key = stored::key(&id);
    let current = store.get(&key, None).await.map_err(of_store)?;
    // What cannot be read is not written over; the compiler finds it, and freezes the views.
    let Ok(old) = current.as_ref().map(stored::read).transpose() else {
        return Ok(());
    };
    let old = old.map(|old| old.json);
    let Some(spec) = spec(old.as_ref().and_then(|old| old.get("spec"))) else {
        return Ok(());
    };
    let document = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": kind.as_str(),
        "metadata": { "name": name },
        "spec": spec,
    });
    let decoded = palisade_model::decode(&document).map_err(|_| refused())?;
    let mut json = decoded.json;
    let compare = match (&old, &current) {
        (Some(old), Some(current)) => {
            Stamps::replacing(old, &json).stamp(&mut json);
            if json == *old {
                return Ok(());
            }
            Compare::ModifiedAt(key.clone(), current.modified)
        }
        _ => {
            Stamps::new().stamp(&mut json);
            Compare::Absent(key.clone())
        }
    };
    let txn = Txn {
        compare: vec![compare],
        then: vec![Op::Put(key, stored::encode(&json)?)],
    };
    // Failed: another replica was faster.
    store.txn(txn).await.map_err(of_store)?;
    Ok(())
}
