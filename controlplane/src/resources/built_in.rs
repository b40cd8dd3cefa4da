//! Resources that always exist: three tiers, and the profile that allows everything.

use super::stored::{self, Stamps};
use crate::failure::of_store;
use palisade_model::{BUILT_IN_TIERS, DEFAULT_ALLOW_PROFILE, Kind, Name, ResourceId};
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
        _ => false,
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
    tiers
        .chain([(Kind::Profile, DEFAULT_ALLOW_PROFILE, allow)])
        .collect()
}

/// Creates what is missing. Any number of replicas may do so at once.
///
/// # Errors
/// The store's.
pub async fn install(store: &dyn Store) -> Result<(), Status> {
    for (kind, name, spec) in documents() {
        let document = json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": kind.as_str(),
            "metadata": { "name": name },
            "spec": spec,
        });
        let refused = || Status::internal(format!("built-in {kind} `{name}` is not valid"));
        let mut json = palisade_model::decode(&document)
            .map_err(|_| refused())?
            .json;
        let key = stored::key(&ResourceId::global(
            kind,
            Name::new(name).ok_or_else(refused)?,
        ));
        if store.get(&key, None).await.map_err(of_store)?.is_some() {
            continue;
        }
        Stamps::new().stamp(&mut json);
        let txn = Txn {
            compare: vec![Compare::Absent(key.clone())],
            then: vec![Op::Put(key, stored::encode(&json)?)],
        };
        // Failed: another replica was faster.
        store.txn(txn).await.map_err(of_store)?;
    }
    Ok(())
}
