//! `palisadectl apply`, `create` and `replace`. Every document is judged offline first: one bad document sends nothing.

use super::wait;
use crate::{
    args::{Args, Create, Write},
    client::Client,
    failure::Failure,
    input::{self, Inputs},
    output, problems,
};
use palisade_proto::v1::{
    ApplyOutcome, ApplyResourcesRequest, CreateResourceRequest, GetResourceRequest, Resource,
    UpdateResourceRequest,
};
use serde_json::Value;
use std::slice;

/// How often a replacement without resourceVersion is tried again after a conflict.
const TRIES: u32 = 5;

pub(super) async fn apply(args: &Args, write: &Write) -> Result<u8, Failure> {
    let (inputs, values) = documents(write)?;
    let client = Client::connect(args).await?;
    let json = values.iter().map(|v| v.to_string().into_bytes()).collect();
    let answer = client
        .resources()
        .apply_resources(client.request(ApplyResourcesRequest {
            json,
            dry_run: write.dry_run,
        }))
        .await
        .map_err(|status| problems::refused(&inputs, &inputs.documents, status))?
        .into_inner();
    for applied in &answer.resources {
        let outcome = match applied.outcome() {
            ApplyOutcome::Created => "created",
            ApplyOutcome::Configured => "configured",
            ApplyOutcome::Unchanged | ApplyOutcome::Unspecified => "unchanged",
        };
        report(applied.resource.as_ref(), outcome, &applied.warnings, write);
    }
    settle(&client, write, answer.revision).await
}

pub(super) async fn create(args: &Args, create: &Create) -> Result<u8, Failure> {
    let (inputs, values) = documents(&create.write)?;
    let client = Client::connect(args).await?;
    let mut done = Progress::new(values.len());
    for (value, input) in values.iter().zip(&inputs.documents) {
        let request = client.request(CreateResourceRequest {
            json: value.to_string().into_bytes(),
            dry_run: create.write.dry_run,
        });
        match client.resources().create_resource(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                done.wrote(answer.resource.as_ref());
                report(
                    answer.resource.as_ref(),
                    "created",
                    &answer.warnings,
                    &create.write,
                );
            }
            Err(status) => {
                let failure = problems::refused(&inputs, slice::from_ref(input), status);
                if failure.is_conflict() && create.skip_exists {
                    println!("{} already there", output::name_of(value));
                } else {
                    done.failed(failure.about(&output::name_of(value)));
                }
            }
        }
    }
    let revision = done.finish("created")?;
    settle(&client, &create.write, revision).await
}

pub(super) async fn replace(args: &Args, write: &Write) -> Result<u8, Failure> {
    let (inputs, values) = documents(write)?;
    let client = Client::connect(args).await?;
    let mut done = Progress::new(values.len());
    for (value, input) in values.iter().zip(&inputs.documents) {
        let refused = |status| problems::refused(&inputs, slice::from_ref(input), status);
        match replace_one(&client, write, value, refused).await {
            Ok(resource) => {
                done.wrote(Some(&resource));
                report(Some(&resource), "replaced", &[], write);
            }
            Err(failure) => done.failed(failure.about(&output::name_of(value))),
        }
    }
    let revision = done.finish("replaced")?;
    settle(&client, write, revision).await
}

/// With a resourceVersion in the document exactly that state is replaced; without one, whatever is there.
async fn replace_one(
    client: &Client,
    write: &Write,
    value: &Value,
    refused: impl Fn(tonic::Status) -> Failure,
) -> Result<Resource, Failure> {
    let given = value
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .is_some_and(|v| !v.is_empty());
    let mut tries = 0;
    loop {
        tries += 1;
        let mut value = value.clone();
        if !given {
            let current = client
                .resources()
                .get_resource(client.request(GetResourceRequest {
                    r#ref: Some(output::reference(&value)),
                }))
                .await?
                .into_inner();
            let version = current
                .resource
                .map(|r| r.resource_version)
                .unwrap_or_default();
            if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("resourceVersion".into(), version.to_string().into());
            }
        }
        let request = client.request(UpdateResourceRequest {
            json: value.to_string().into_bytes(),
            dry_run: write.dry_run,
        });
        match client.resources().update_resource(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                for warning in &answer.warnings {
                    eprintln!("warning: {}: {warning}", output::name_of(&value));
                }
                return Ok(answer.resource.unwrap_or_default());
            }
            Err(status) => {
                let failure = refused(status);
                if given || !failure.is_conflict() || tries == TRIES {
                    return Err(failure);
                }
            }
        }
    }
}

/// Reads and judges every document; sends none of them if one is bad. Warnings are printed from the server's answer.
/// The values stand in the order of the documents.
fn documents(write: &Write) -> Result<(Inputs, Vec<Value>), Failure> {
    let inputs = input::read(&write.files)?;
    let decoded = problems::decode(&inputs)?;
    Ok((inputs, decoded.into_iter().map(|d| d.json).collect()))
}

fn report(resource: Option<&Resource>, outcome: &str, warnings: &[String], write: &Write) {
    let name = resource.and_then(|r| r.r#ref.as_ref()).map_or_else(
        || "resource".to_owned(),
        |r| {
            if r.namespace.is_empty() {
                format!("{}/{}", r.kind, r.name)
            } else {
                format!("{}/{}/{}", r.kind, r.namespace, r.name)
            }
        },
    );
    println!(
        "{name} {outcome}{}",
        if write.dry_run { " (dry run)" } else { "" }
    );
    for warning in warnings {
        eprintln!("warning: {name}: {warning}");
    }
}

async fn settle(client: &Client, write: &Write, revision: u64) -> Result<u8, Failure> {
    if let (Some(limit), false) = (write.wait, write.dry_run) {
        wait::enforced(client, revision, limit).await?;
    }
    Ok(0)
}

/// Several writes, each on its own: goes on after an error.
struct Progress {
    total: usize,
    done: usize,
    revision: u64,
    failures: Vec<Failure>,
}

impl Progress {
    const fn new(total: usize) -> Self {
        Self {
            total,
            done: 0,
            revision: 0,
            failures: Vec::new(),
        }
    }

    fn wrote(&mut self, resource: Option<&Resource>) {
        self.done += 1;
        self.revision = self
            .revision
            .max(resource.map_or(0, |r| r.resource_version));
    }

    fn failed(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    /// The highest revision written; a single failure keeps its exit code, partial failure is 1.
    fn finish(mut self, verb: &str) -> Result<u64, Failure> {
        match (self.failures.len(), self.total) {
            (0, _) => Ok(self.revision),
            (1, 1) => Err(self.failures.remove(0)),
            _ => {
                for failure in &self.failures {
                    failure.print();
                }
                Err(Failure::error(format!(
                    "partial success: {verb} {} of {}",
                    self.done, self.total
                )))
            }
        }
    }
}
