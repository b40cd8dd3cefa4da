//! Profiles on behalf of other services: written, listed and deleted by name, like any other resource.

use super::{
    PREFIX, Resources,
    plan::{self, Verb},
    problems, stored,
    write::ATTEMPTS,
};
use crate::{
    failure::{contended, of_store},
    unreadable,
};
use palisade_model::{Kind, Name, ProfileSpec, ResourceId, Spec, stored::Unreadable};
use palisade_store::{Compare, MAX_OPS, Op, Revision, Scan, Txn, TxnOutcome};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::PreconditionViolation;

/// Profiles by the beginning of their names.
#[derive(Default)]
pub(crate) struct Profiles {
    /// By name.
    pub(crate) readable: Vec<(Name, ProfileSpec)>,
    /// Those that cannot be read.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Resources {
    /// Creates or replaces a profile; with `needs`, only while that profile exists.
    ///
    /// # Errors
    /// What the model refuses, a missing profile, the store's.
    pub(crate) async fn put_profile(
        &self,
        name: &str,
        spec: Value,
        needs: Option<&str>,
    ) -> Result<Revision, Status> {
        let document = json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "Profile",
            "metadata": { "name": name },
            "spec": spec,
        });
        let documents = plan::decode(&[document.to_string().into_bytes()])?;
        let mut also = Vec::new();
        if let Some(needed) = needs {
            let id = profile(needed)?;
            if self.find(&id).await?.is_none() {
                let message = format!("there is no profile `{needed}`");
                let violation = PreconditionViolation::new("MISSING_REFERENT", needed, message);
                return Err(problems::precondition(vec![violation]));
            }
            also.push(Compare::Present(stored::key(&id)));
        }
        let written = self.commit(&documents, Verb::Apply, false, &also).await?;
        Ok(written.revision)
    }

    /// Profiles whose name begins so, by name.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn profiles(&self, prefix: &str) -> Result<Profiles, Status> {
        let prefix = format!("{PREFIX}{}/-/{prefix}", Kind::Profile);
        let mut scan = Scan::new(&*self.store, prefix);
        let mut found = Profiles::default();
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in &items {
                match stored::read(item) {
                    Ok(read) => {
                        if let Spec::Profile(spec) = read.resource.spec {
                            found.readable.push((read.id.name, spec));
                        }
                    }
                    Err(row) => found.unreadable.push(row),
                }
            }
        }
        Ok(found)
    }

    /// Deletes a profile with all whose name begins with `members`, in one commit.
    ///
    /// # Errors
    /// `NOT_FOUND` without the first; `FAILED_PRECONDITION` if one of them cannot be read; the store's.
    pub(crate) async fn delete_profiles(
        &self,
        first: &str,
        members: Option<&str>,
    ) -> Result<Revision, Status> {
        let id = profile(first)?;
        let key = stored::key(&id);
        // Nobody may come to need it between the look and the commit.
        let _exclusive = self.referents.write().await;
        for _ in 0..ATTEMPTS {
            let Some(current) = self.find(&id).await? else {
                let message = format!("there is no profile `{first}`");
                let kind = Kind::Profile.as_str();
                return Err(problems::about(Code::NotFound, kind, first, message));
            };
            let mut unreadable: Vec<_> = stored::read(&current).err().into_iter().collect();
            let mut then = vec![Op::Delete(key.clone())];
            if let Some(members) = members {
                let found = self.profiles(members).await?;
                unreadable.extend(found.unreadable);
                let keys = found
                    .readable
                    .into_iter()
                    .map(|(name, _)| stored::key(&ResourceId::global(Kind::Profile, name)));
                then.extend(keys.map(Op::Delete));
            }
            if !unreadable.is_empty() {
                return Err(unreadable::refusal(&unreadable, "so it is not deleted"));
            }
            if then.len() > MAX_OPS {
                return Err(Status::resource_exhausted(
                    "too many identities for one commit: delete some of them first",
                ));
            }
            let txn = Txn {
                compare: vec![Compare::ModifiedAt(key.clone(), current.modified)],
                then,
            };
            if let TxnOutcome::Committed { revision } =
                self.store.txn(txn).await.map_err(of_store)?
            {
                return Ok(revision);
            }
        }
        Err(contended())
    }
}

fn profile(name: &str) -> Result<ResourceId, Status> {
    let parsed = Name::new(name)
        .ok_or_else(|| Status::invalid_argument(format!("`{name}` is not a profile name")))?;
    Ok(ResourceId::global(Kind::Profile, parsed))
}
