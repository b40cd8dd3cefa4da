//! `palisadectl delete`: by name or by file; goes on after an error.

use super::{get, wait};
use crate::{
    args::{Args, Delete, Files},
    client::Client,
    failure::Failure,
    input, output, problems,
};
use palisade_proto::v1::{DeleteResourceRequest, ResourceRef};

pub(super) async fn run(args: &Args, asked: &Delete) -> Result<u8, Failure> {
    let targets = targets(asked)?;
    let client = Client::connect(args).await?;
    let mut revision = 0;
    let mut deleted = 0;
    let mut first_failure = None;
    for target in &targets {
        let name = output_name(target);
        let request = client.request(DeleteResourceRequest {
            r#ref: Some(target.clone()),
            resource_version: 0,
            dry_run: asked.dry_run,
        });
        match client.resources().delete_resource(request).await {
            Ok(answer) => {
                revision = revision.max(answer.into_inner().revision);
                deleted += 1;
                println!(
                    "{name} deleted{}",
                    if asked.dry_run { " (dry run)" } else { "" }
                );
            }
            Err(status) => {
                let failure = Failure::from(status);
                if failure.is_not_found() && asked.skip_not_exists {
                    println!("{name} not there");
                    continue;
                }
                let failure = failure.about(&name);
                if targets.len() > 1 {
                    failure.print();
                }
                first_failure.get_or_insert(failure);
            }
        }
    }
    if let Some(failure) = first_failure {
        return Err(if targets.len() == 1 {
            failure
        } else {
            Failure::error(format!("deleted {deleted} of {}", targets.len()))
        });
    }
    if let (Some(limit), true) = (asked.wait, revision > 0 && !asked.dry_run) {
        wait::enforced(&client, revision, limit).await?;
    }
    Ok(0)
}

fn targets(asked: &Delete) -> Result<Vec<ResourceRef>, Failure> {
    if asked.filename.is_empty() {
        let kind = get::kind(asked.kind.as_deref().unwrap_or_default())?;
        let namespace = get::namespace(kind, asked.namespace.as_deref());
        return Ok(asked
            .names
            .iter()
            .map(|name| ResourceRef {
                kind: kind.to_string(),
                namespace: namespace.clone(),
                name: name.clone(),
            })
            .collect());
    }
    let inputs = input::read(&Files {
        filename: asked.filename.clone(),
        recursive: asked.recursive,
        skip_empty: asked.skip_not_exists,
        namespace: asked.namespace.clone(),
    })?;
    Ok(problems::decode(&inputs)?
        .iter()
        .map(|decoded| output::reference(&decoded.json))
        .collect())
}

fn output_name(target: &ResourceRef) -> String {
    output::name_of(&serde_json::json!({
        "kind": target.kind,
        "metadata": if target.namespace.is_empty() {
            serde_json::json!({ "name": target.name })
        } else {
            serde_json::json!({ "name": target.name, "namespace": target.namespace })
        },
    }))
}
