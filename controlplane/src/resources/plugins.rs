//! What writes have to do with plugins: components must be stored, rules must name matchers that exist, and settings must
//! please the plugin itself, each problem with its place in the user's file.
//!
//! Policies are compared with the plugins that judged them in the same transaction; a write of a plugin keeps all other
//! writes out while it looks at the policies that name it.

use super::{
    Resources,
    plan::Document,
    problems::{self, field},
    stored,
};
use crate::{
    failure::of_store,
    plugins::components::{Components, Question},
    unreadable,
};
use palisade_model::{
    FieldPath, Kind, Name, Part, PluginKind, PluginMatch, PluginSpec, Problem, Resource,
    ResourceId, Rule, Segment, Spec, stored::Unreadable,
};
use palisade_plugin_host::{Digest, Kind as Duty, SettingsError};
use palisade_store::{Compare, Scan};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Status;
use tonic_types::PreconditionViolation;

/// What was found out.
#[derive(Default)]
pub(super) struct Judged {
    /// Sizes of the components that documents name.
    sizes: BTreeMap<ResourceId, u64>,
    /// What must still hold at the commit.
    pub(super) compare: Vec<Compare>,
}

/// Settings in a resource, for a plugin to judge.
struct Asked {
    place: Place,
    /// Path of the settings.
    path: FieldPath,
    question: Question,
}

/// Whose settings they are.
enum Place {
    /// A document of the request.
    Document(Option<usize>),
    /// A stored policy whose plugin is written.
    Stored(ResourceId),
}

/// Stored policies that ask a plugin.
#[derive(Default)]
pub(super) struct Users {
    /// With each place where they do.
    pub(super) readable: Vec<(ResourceId, Vec<(FieldPath, PluginMatch)>)>,
    /// Policies that cannot be read: each may ask it.
    pub(super) unreadable: Vec<Unreadable>,
}

/// All that is asked and all that is wrong, while documents are judged.
#[derive(Default)]
struct Findings {
    judged: Judged,
    asked: Vec<Asked>,
    /// Components that documents name and nobody stored: there is nothing to ask.
    missing: BTreeSet<Digest>,
    faults: Vec<(Option<usize>, Problem)>,
    violations: Vec<PreconditionViolation>,
}

// === impl Judged ===

impl Judged {
    /// Size of the component of a plugin.
    pub(super) fn size(&self, id: &ResourceId) -> Option<u64> {
        self.sizes.get(id).copied()
    }
}

impl Resources {
    /// Judges what documents say of plugins.
    pub(super) async fn judge_plugins(&self, documents: &[Document]) -> Result<Judged, Status> {
        let mut findings = Findings::default();
        let mut brought = BTreeMap::new();
        for document in documents {
            if let Spec::Plugin(spec) = &document.resource().spec {
                brought.insert(document.id.name.clone(), spec.as_ref());
                self.judge_plugin(document, spec, &mut findings).await?;
                self.judge_users(document, spec, documents, &mut findings)
                    .await?;
            }
        }
        let mut known: BTreeMap<Name, Option<PluginSpec>> = brought
            .into_iter()
            .map(|(name, spec)| (name, Some(spec.clone())))
            .collect();
        for document in documents {
            for (path, asked) in mentions(document.resource()) {
                if !known.contains_key(&asked.name) {
                    let found = self.stored_plugin(&asked.name, &mut findings).await?;
                    known.insert(asked.name.clone(), found);
                }
                let plugin = known.get(&asked.name).and_then(Option::as_ref);
                findings.mention(document.index, path, asked, plugin);
            }
        }
        self.settle(findings).await
    }

    /// Lets plugins judge settings, and gives everything that is wrong.
    async fn settle(&self, mut findings: Findings) -> Result<Judged, Status> {
        let questions: BTreeSet<Question> = findings
            .asked
            .iter()
            .map(|asked| asked.question.clone())
            .filter(|(digest, _)| !findings.missing.contains(digest))
            .collect();
        let answers = match questions.is_empty() {
            true => BTreeMap::new(),
            false => {
                let questions = questions.into_iter().collect();
                self.components.judge(questions).await?
            }
        };
        for asked in std::mem::take(&mut findings.asked) {
            if let Some(Err(error)) = answers.get(&asked.question) {
                findings.refuse(&asked, error);
            }
        }
        let Findings {
            judged,
            faults,
            violations,
            ..
        } = findings;
        match (faults.is_empty(), violations.is_empty()) {
            (true, true) => Ok(judged),
            (true, false) => Err(problems::precondition(violations)),
            (false, _) => Err(problems::invalid_and(&faults, violations)),
        }
    }

    /// Its component must be stored, and be what the resource says.
    async fn judge_plugin(
        &self,
        document: &Document,
        spec: &PluginSpec,
        findings: &mut Findings,
    ) -> Result<(), Status> {
        let digest = Digest::from_bytes(*spec.digest.as_bytes());
        let Some((record, _)) = self.components.find(&digest).await? else {
            let message =
                "no component with this digest is stored: upload it with `palisadectl plugin push`";
            findings.violations.push(PreconditionViolation::new(
                "MISSING_REFERENT",
                field(document.index, "spec.digest"),
                message,
            ));
            findings.missing.insert(digest);
            return Ok(());
        };
        findings.judged.compare.push(Components::is_stored(&digest));
        let duty = match spec.kind {
            PluginKind::Matcher => Duty::Matcher,
            PluginKind::Auditor => Duty::Auditor,
        };
        if !record.kinds.contains(&duty) {
            let is = record.kinds.iter().map(ToString::to_string);
            let is = is.collect::<Vec<_>>().join(" and ");
            let message = format!(
                "the component `{}` does the work of {is}, not of {duty}",
                record.name
            );
            let problem = problem(path(&["spec", "kind"]), message);
            findings.faults.push((document.index, problem));
            return Ok(());
        }
        let sizes = &mut findings.judged.sizes;
        sizes.insert(document.id.clone(), record.size);
        if spec.kind == PluginKind::Auditor {
            findings.asked.push(Asked {
                place: Place::Document(document.index),
                path: path(&["spec", "settings"]),
                question: (digest, text(&spec.settings)),
            });
        }
        Ok(())
    }

    /// Where a plugin becomes another, policies that name it must please it as they are stored.
    async fn judge_users(
        &self,
        document: &Document,
        spec: &PluginSpec,
        documents: &[Document],
        findings: &mut Findings,
    ) -> Result<(), Status> {
        let name = &document.id.name;
        let Some(old) = self.find_plugin(name).await?.map(|(spec, _)| spec) else {
            return Ok(());
        };
        if (old.digest, old.kind) == (spec.digest, spec.kind) {
            return Ok(());
        }
        let users = self.users_of_plugin(name).await?;
        let why =
            format!("so nobody knows whether it asks plugin `{name}` with settings that please it");
        let rows = users.unreadable.iter();
        let violations = rows.map(|row| unreadable::violation(row, &why));
        findings.violations.extend(violations);
        for (id, mentions) in users.readable {
            if documents.iter().any(|document| document.id == id) {
                continue;
            }
            if spec.kind != PluginKind::Matcher {
                let message = format!("{id} asks it, and an auditor cannot be asked");
                let subject = field(document.index, "spec.kind");
                let violation = PreconditionViolation::new("REFERENCED", subject, message);
                findings.violations.push(violation);
                continue;
            }
            findings
                .asked
                .extend(mentions.into_iter().map(|(path, asked)| Asked {
                    place: Place::Stored(id.clone()),
                    path: below(path, "settings"),
                    question: (
                        Digest::from_bytes(*spec.digest.as_bytes()),
                        text(&asked.settings),
                    ),
                }));
        }
        Ok(())
    }

    async fn stored_plugin(
        &self,
        name: &Name,
        findings: &mut Findings,
    ) -> Result<Option<PluginSpec>, Status> {
        let Some((spec, compare)) = self.find_plugin(name).await? else {
            return Ok(None);
        };
        findings.judged.compare.push(compare);
        Ok(Some(spec))
    }

    async fn find_plugin(&self, name: &Name) -> Result<Option<(PluginSpec, Compare)>, Status> {
        let id = ResourceId::global(Kind::Plugin, name.clone());
        let Some(current) = self.find(&id).await? else {
            return Ok(None);
        };
        let read = stored::read(&current)
            .map_err(|row| unreadable::refusal(&[row], "so nothing that asks it can be judged"))?;
        let compare = Compare::ModifiedAt(stored::key(&id), current.modified);
        Ok(match read.resource.spec {
            Spec::Plugin(spec) => Some((*spec, compare)),
            _ => None,
        })
    }

    /// Stored policies that name a plugin, with each place where they do.
    pub(super) async fn users_of_plugin(&self, name: &Name) -> Result<Users, Status> {
        let mut users = Users::default();
        for kind in [Kind::GlobalNetworkPolicy, Kind::NetworkPolicy] {
            let prefix = format!("{}{kind}/", super::PREFIX);
            let mut scan = Scan::new(&*self.store, prefix);
            while let Some(items) = scan.next().await.map_err(of_store)? {
                for item in &items {
                    let read = match stored::read(item) {
                        Ok(read) => read,
                        Err(row) => {
                            users.unreadable.push(row);
                            continue;
                        }
                    };
                    let found = mentions(&read.resource).into_iter();
                    let found: Vec<_> = found
                        .filter(|(_, asked)| asked.name == *name)
                        .map(|(path, asked)| (path, asked.clone()))
                        .collect();
                    if !found.is_empty() {
                        users.readable.push((read.id, found));
                    }
                }
            }
        }
        Ok(users)
    }
}

// === impl Findings ===

impl Findings {
    /// A rule of a document asks a plugin.
    fn mention(
        &mut self,
        document: Option<usize>,
        path: FieldPath,
        asked: &PluginMatch,
        plugin: Option<&PluginSpec>,
    ) {
        let (why, message) = match plugin {
            Some(plugin) if plugin.kind == PluginKind::Matcher => {
                self.asked.push(Asked {
                    place: Place::Document(document),
                    path: below(path, "settings"),
                    question: (
                        Digest::from_bytes(*plugin.digest.as_bytes()),
                        text(&asked.settings),
                    ),
                });
                return;
            }
            Some(_) => (
                "NOT_A_MATCHER",
                format!(
                    "plugin `{}` is an auditor, which decides nothing",
                    asked.name
                ),
            ),
            None => (
                "MISSING_REFERENT",
                format!("there is no plugin `{}`", asked.name),
            ),
        };
        let subject = field(document, &below(path, "name").to_string());
        let violation = PreconditionViolation::new(why, subject, message);
        self.violations.push(violation);
    }

    /// A plugin does not accept settings.
    fn refuse(&mut self, asked: &Asked, error: &SettingsError) {
        let problems = match error {
            SettingsError::Refused(problems) => problems
                .iter()
                .map(|found| within(&asked.path, &found.path, &found.message))
                .collect(),
            SettingsError::Fault(_) => vec![problem(asked.path.clone(), error.to_string())],
        };
        match &asked.place {
            Place::Document(index) => {
                let faults = problems.into_iter().map(|problem| (*index, problem));
                self.faults.extend(faults);
            }
            Place::Stored(id) => {
                let violations = problems.into_iter().map(|problem| {
                    let subject = format!("{id}: {}", problem.path);
                    PreconditionViolation::new("SETTINGS", subject, problem.message)
                });
                self.violations.extend(violations);
            }
        }
    }
}

/// Where rules ask plugins: the path of the condition, and the condition.
fn mentions(resource: &Resource) -> Vec<(FieldPath, &PluginMatch)> {
    let (Spec::GlobalNetworkPolicy(policy) | Spec::NetworkPolicy(policy)) = &resource.spec else {
        return Vec::new();
    };
    let lists: [(&str, &[Rule]); 2] = [("ingress", &policy.ingress), ("egress", &policy.egress)];
    let mut found = Vec::new();
    for (list, rules) in lists {
        for (index, rule) in rules.iter().enumerate() {
            if let Some(asked) = &rule.plugin {
                let mut path = path(&["spec", list]);
                path.0.push(Segment::Index(index));
                found.push((below(path, "plugin"), asked));
            }
        }
    }
    found
}

/// What a plugin says is wrong with its settings. A path that is none of ours stays in the message.
fn within(settings: &FieldPath, inside: &str, message: &str) -> Problem {
    match inside.parse::<FieldPath>() {
        Ok(inside) => {
            let segments = settings.0.iter().cloned().chain(inside.0);
            problem(FieldPath(segments.collect()), message.to_owned())
        }
        Err(_) => problem(settings.clone(), format!("`{inside}`: {message}")),
    }
}

fn problem(path: FieldPath, message: String) -> Problem {
    Problem {
        path,
        message,
        span: None,
        part: Part::Value,
    }
}

fn path(keys: &[&str]) -> FieldPath {
    let keys = keys.iter().map(|key| Segment::Key((*key).to_owned()));
    FieldPath(keys.collect())
}

fn below(mut path: FieldPath, key: &str) -> FieldPath {
    path.0.push(Segment::Key(key.to_owned()));
    path
}

fn text(settings: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::Value::Object(settings.clone()).to_string()
}
