//! Deletion, and what forbids it: what is built in stays, a tier while policies belong to it, and a plugin while policies
//! ask it.

use super::{Resources, built_in, problems, stored, write::ATTEMPTS};
use crate::{
    failure::{contended, of_store},
    unreadable,
};
use palisade_model::{Kind, ResourceId};
use palisade_proto::v1::{DeleteResourceRequest, DeleteResourceResponse};
use palisade_store::{Compare, Op, Scan, Txn, TxnOutcome};
use tonic::{Code, Status};
use tonic_types::PreconditionViolation;

/// The most referrers that a refusal names.
const REFERRERS: usize = 10;

impl Resources {
    pub(super) async fn delete(
        &self,
        request: DeleteResourceRequest,
    ) -> Result<DeleteResourceResponse, Status> {
        let id = stored::identity(request.r#ref)?;
        if built_in::is_built_in(&id) {
            let violation =
                PreconditionViolation::new("BUILT_IN", id.to_string(), "it is built in");
            return Err(problems::precondition(vec![violation]));
        }
        let (_exclusive, _shared);
        if matches!(id.kind, Kind::Tier | Kind::Plugin) {
            _exclusive = self.referents.write().await;
            self.refuse_while_named(&id).await?;
        } else {
            _shared = self.referents.read().await;
        }
        let key = stored::key(&id);
        for _ in 0..ATTEMPTS {
            let Some(current) = self.find(&id).await? else {
                let message = format!("{id} does not exist");
                return Err(problems::about(
                    Code::NotFound,
                    id.kind.as_str(),
                    id.name.as_str(),
                    message,
                ));
            };
            let stored = stored::read(&current)
                .map_err(|row| unreadable::refusal(&[row], "so it is not deleted"))?;
            let version = current.modified;
            if request.resource_version != 0 && request.resource_version != version.0 {
                let given = request.resource_version.to_string();
                return Err(problems::conflict(
                    &id.to_string(),
                    &given,
                    &version.to_string(),
                ));
            }
            let resource = Some(stored::present(&id, stored.json, version));
            if request.dry_run {
                return Ok(DeleteResourceResponse {
                    resource,
                    revision: version.0,
                });
            }
            let txn = Txn {
                compare: vec![Compare::ModifiedAt(key.clone(), version)],
                then: vec![Op::Delete(key.clone())],
            };
            if let TxnOutcome::Committed { revision } =
                self.store.txn(txn).await.map_err(of_store)?
            {
                return Ok(DeleteResourceResponse {
                    resource,
                    revision: revision.0,
                });
            }
        }
        Err(contended())
    }

    /// A tier stays while policies of any kind belong to it, a plugin while policies ask it.
    async fn refuse_while_named(&self, referent: &ResourceId) -> Result<(), Status> {
        let mut violations = Vec::new();
        if referent.kind == Kind::Plugin {
            let users = self.users_of_plugin(&referent.name).await?;
            violations.extend(users.readable.into_iter().map(|(policy, _)| {
                let message = format!("{policy} asks it");
                PreconditionViolation::new("REFERENCED", referent.to_string(), message)
            }));
            let why = format!("so it may ask {referent}");
            let rows = users.unreadable.iter();
            violations.extend(rows.map(|row| unreadable::violation(row, &why)));
        } else {
            for kind in Kind::POLICIES {
                self.members(referent, kind, &mut violations).await?;
            }
        }
        violations.truncate(REFERRERS);
        match violations.is_empty() {
            true => Ok(()),
            false => Err(problems::precondition(violations)),
        }
    }

    /// Policies of a kind that belong to the tier; enough of them.
    async fn members(
        &self,
        tier: &ResourceId,
        kind: Kind,
        found: &mut Vec<PreconditionViolation>,
    ) -> Result<(), Status> {
        let prefix = format!("{}{kind}/", super::PREFIX);
        let mut scan = Scan::new(&*self.store, prefix.as_str());
        while found.len() < REFERRERS {
            let Some(items) = scan.next().await.map_err(of_store)? else {
                break;
            };
            for item in &items {
                match stored::read(item) {
                    Ok(policy) if policy.resource.spec.tier() == Some(&tier.name) => {
                        let name = match &policy.id.namespace {
                            Some(namespace) => format!("{namespace}/{}", policy.id.name),
                            None => policy.id.name.to_string(),
                        };
                        found.push(PreconditionViolation::new(
                            "REFERENCED",
                            tier.to_string(),
                            format!("{kind} `{name}` belongs to it"),
                        ));
                    }
                    Ok(_) => {}
                    Err(row) => {
                        let why = format!("so it may belong to {tier}");
                        found.push(unreadable::violation(&row, &why));
                    }
                }
            }
        }
        Ok(())
    }
}
