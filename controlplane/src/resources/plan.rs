//! What a write of documents comes to, judged against what is stored: decode, references, versions, stamps.

use super::{
    problems::{self, field},
    stored::{self, Stamps},
};
use crate::unreadable;
use bytes::Bytes;
use palisade_model::{
    ApiVersion, DEFAULT_ALLOW_PROFILE, Decoded, Kind, Name, Problem, Resource, ResourceId,
    Unenforced, stored::StoredResource,
};
use palisade_store::{Compare, KeyValue, Op};
use serde_json::Value;
use std::collections::BTreeSet;
use tonic::{Code, Status};
use tonic_types::PreconditionViolation;

/// What a caller asked to do with a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    Create,
    Update,
    Apply,
}

/// A document past the door.
pub(super) struct Document {
    pub(super) id: ResourceId,
    pub(super) key: Bytes,
    pub(super) warnings: Vec<String>,
    pub(super) index: Option<usize>,
    decoded: Decoded,
}

/// What a document comes to.
pub(super) enum Step {
    /// What is stored is the same already.
    Keep(Value, KeyValue),
    /// A new resource.
    Create(Value),
    /// Another version of a stored one.
    Replace(Value, KeyValue),
}

/// Decodes all documents, and reports everything that is wrong with any.
pub(super) fn decode(documents: &[Vec<u8>]) -> Result<Vec<Document>, Status> {
    let mut faults: Vec<(Option<usize>, Problem)> = Vec::new();
    let mut unenforced: Vec<(Option<usize>, Unenforced)> = Vec::new();
    let mut good = Vec::with_capacity(documents.len());
    for (index, bytes) in documents.iter().enumerate() {
        let index = (documents.len() > 1).then_some(index);
        match palisade_model::decode_json(bytes) {
            Ok(decoded) => {
                let found = palisade_model::unenforced(&decoded.resource);
                unenforced.extend(found.into_iter().map(|u| (index, u)));
                good.push(Document::new(index, decoded));
            }
            Err(problems) => faults.extend(problems.into_iter().map(|p| (index, p))),
        }
    }
    if !faults.is_empty() {
        return Err(problems::invalid(&faults));
    }
    if !unenforced.is_empty() {
        return Err(problems::not_enforced(&unenforced));
    }
    refuse_repeated(&good)?;
    refuse_protected(&good)?;
    Ok(good)
}

fn refuse_repeated(documents: &[Document]) -> Result<(), Status> {
    let mut seen = BTreeSet::new();
    let twice = documents.iter().find(|document| !seen.insert(&document.id));
    twice.map_or(Ok(()), |document| {
        let message = format!("{} is in the request twice", document.id);
        Err(problems::invalid_field(
            field(document.index, "metadata.name"),
            &message,
        ))
    })
}

fn refuse_protected(documents: &[Document]) -> Result<(), Status> {
    let refusal = |document: &Document| match document.id.kind {
        kind if kind.is_read_only() => Some((
            "READ_ONLY",
            "kind",
            format!("{kind} is written by the control plane alone"),
        )),
        Kind::Profile if document.id.name.as_str() == DEFAULT_ALLOW_PROFILE => {
            let message = "the profile is built in and cannot be written".to_owned();
            Some(("BUILT_IN", "metadata.name", message))
        }
        _ => None,
    };
    let refused = documents.iter().find_map(|d| Some((d, refusal(d)?)));
    refused.map_or(Ok(()), |(document, (why, path, message))| {
        let subject = field(document.index, path);
        let violation = PreconditionViolation::new(why, subject, message);
        Err(problems::precondition(vec![violation]))
    })
}

/// The tiers that documents name and do not bring along: all must exist for the write to happen.
pub(super) fn referenced_tiers(documents: &[Document]) -> BTreeSet<ResourceId> {
    let brought: BTreeSet<&ResourceId> = documents.iter().map(|document| &document.id).collect();
    let tiers = documents.iter().filter_map(Document::tier);
    tiers.filter(|tier| !brought.contains(tier)).collect()
}

/// Refuses documents that name one of these tiers.
pub(super) fn missing_tiers(documents: &[Document], missing: &BTreeSet<ResourceId>) -> Status {
    let violations = documents.iter().filter_map(|document| {
        let tier = document.tier().filter(|tier| missing.contains(tier))?;
        let subject = field(document.index, "spec.tier");
        Some(PreconditionViolation::new(
            "MISSING_REFERENT",
            subject,
            format!("there is no tier `{}`", tier.name),
        ))
    });
    problems::precondition(violations.collect())
}

// === impl Document ===

impl Document {
    fn new(index: Option<usize>, decoded: Decoded) -> Self {
        let id = decoded.resource.id();
        Self {
            key: stored::key(&id),
            warnings: decoded.warnings.iter().map(ToString::to_string).collect(),
            id,
            index,
            decoded,
        }
    }

    /// The resource that it is.
    pub(super) fn resource(&self) -> &Resource {
        &self.decoded.resource
    }

    /// A field of it, for a refusal.
    pub(super) fn field(&self, path: &str) -> String {
        field(self.index, path)
    }

    /// The tier that a policy belongs to.
    fn tier(&self) -> Option<ResourceId> {
        let tier = self.decoded.resource.spec.tier()?;
        Some(ResourceId::global(Kind::Tier, tier.clone()))
    }

    /// Judges the document against what stands at its key. `size` is that of a plugin's component.
    pub(super) fn step(
        &self,
        verb: Verb,
        current: Option<&KeyValue>,
        size: Option<u64>,
    ) -> Result<Step, Status> {
        let given = self.decoded.resource.metadata.resource_version.as_deref();
        // First, and whatever the verb: nobody writes over what they cannot see.
        let stored = current.map(stored::read).transpose();
        let stored =
            stored.map_err(|row| unreadable::refusal(&[row], "so it is not written over"))?;
        self.check_version(verb, given, current)?;
        let mut json = self.decoded.json.clone();
        let spec = json.get_mut("spec").and_then(Value::as_object_mut);
        if let (Some(size), Some(spec)) = (size, spec) {
            spec.insert("size".to_owned(), size.into());
        }
        let (Some(current), Some(stored)) = (current, stored) else {
            Stamps::new().stamp(&mut json);
            return Ok(Step::Create(json));
        };
        self.keep_extensions(&stored)?;
        let old = stored.json;
        Stamps::replacing(&old, &json).stamp(&mut json);
        Ok(if json == old {
            Step::Keep(json, current.clone())
        } else {
            Step::Replace(json, current.clone())
        })
    }

    /// A client that knows Calico's group alone would drop, unseen, what others wrote in ours.
    fn keep_extensions(&self, old: &StoredResource) -> Result<(), Status> {
        if self.decoded.resource.api_version == ApiVersion::Palisade {
            return Ok(());
        }
        let fields = &old.extensions;
        let violations = fields.iter().map(|path| {
            let message = format!(
                "what is stored has `{path}`, which this apiVersion cannot say: write `{}`, or delete the resource first",
                ApiVersion::Palisade.as_str()
            );
            PreconditionViolation::new("EXTENSION_FIELDS", field(self.index, "apiVersion"), message)
        });
        match fields.is_empty() {
            true => Ok(()),
            false => Err(problems::precondition(violations.collect())),
        }
    }

    fn check_version(
        &self,
        verb: Verb,
        given: Option<&str>,
        current: Option<&KeyValue>,
    ) -> Result<(), Status> {
        let version_field = || field(self.index, "metadata.resourceVersion");
        let version = current.map(|current| current.modified.to_string());
        match (verb, given, version) {
            (Verb::Create, Some(_), _) => Err(problems::invalid_field(
                version_field(),
                "must be empty for a resource to be created",
            )),
            (Verb::Create, None, Some(_)) => Err(self.about(Code::AlreadyExists, "already exists")),
            (Verb::Update, None, _) => Err(problems::invalid_field(
                version_field(),
                "is needed to replace a resource",
            )),
            (Verb::Update, Some(_), None) => Err(self.about(Code::NotFound, "does not exist")),
            (Verb::Update | Verb::Apply, Some(given), Some(current)) if given != current => {
                Err(problems::conflict(&self.id.to_string(), given, &current))
            }
            // An exported file is applied to a new cluster as well: its versions mean nothing there.
            (Verb::Create, None, None)
            | (Verb::Update | Verb::Apply, Some(_), Some(_))
            | (Verb::Apply, _, _) => Ok(()),
        }
    }

    fn about(&self, code: Code, what: &str) -> Status {
        let kind = self.id.kind.as_str();
        problems::about(
            code,
            kind,
            Name::as_str(&self.id.name),
            format!("{} {what}", self.id),
        )
    }
}

// === impl Step ===

impl Step {
    /// The resource as it will stand.
    pub(super) fn json(&self) -> &Value {
        match self {
            Self::Keep(json, _) | Self::Create(json) | Self::Replace(json, _) => json,
        }
    }

    /// What must still hold at the commit, and what it does.
    pub(super) fn transaction(&self, key: &Bytes) -> Result<(Compare, Option<Op>), Status> {
        let put = |json| Ok::<_, Status>(Some(Op::Put(key.clone(), stored::encode(json)?)));
        Ok(match self {
            Self::Keep(_, current) => (Compare::ModifiedAt(key.clone(), current.modified), None),
            Self::Create(json) => (Compare::Absent(key.clone()), put(json)?),
            Self::Replace(json, current) => (
                Compare::ModifiedAt(key.clone(), current.modified),
                put(json)?,
            ),
        })
    }
}
