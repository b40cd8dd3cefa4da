//! `palisadectl namespace`: namespaces that orchestrators register.

use crate::{
    args::{Args, Format, Namespace, NamespaceDefault},
    client::Client,
    failure::Failure,
    labels::{parse_labels, show_labels},
    output, unreadable,
};
use palisade_proto::v1::{
    DeleteNamespaceRequest, ListNamespacesRequest, Namespace as Registered,
    NamespaceDefault as Default, PutNamespaceRequest,
};
use serde_json::{Value, json};

pub(super) async fn run(args: &Args, namespace: &Namespace) -> Result<u8, Failure> {
    match namespace {
        Namespace::Create {
            name,
            labels,
            default,
        } => {
            let default = match default {
                NamespaceDefault::Allow => Default::Allow,
                NamespaceDefault::Deny => Default::Deny,
            };
            let namespace = Registered {
                name: name.clone(),
                labels: parse_labels(labels)?,
                default_action: default.into(),
            };
            let client = Client::connect(args).await?;
            let request = client.request(PutNamespaceRequest {
                namespace: Some(namespace),
            });
            let answer = client.namespaces().put_namespace(request).await?;
            println!("{}", answer.into_inner().profile);
        }
        Namespace::List { output } => {
            let client = Client::connect(args).await?;
            let request = client.request(ListNamespacesRequest {});
            let answer = client.namespaces().list_namespaces(request).await?;
            let answer = answer.into_inner();
            print!("{}", show(*output, &answer.namespaces)?);
            return Ok(unreadable::warn(&answer.unreadable));
        }
        Namespace::Delete { name } => {
            let client = Client::connect(args).await?;
            let request = client.request(DeleteNamespaceRequest { name: name.clone() });
            client.namespaces().delete_namespace(request).await?;
            println!("namespace `{name}` deleted");
        }
    }
    Ok(0)
}

fn show(format: Format, namespaces: &[Registered]) -> Result<String, Failure> {
    let values = || {
        let value =
            |n: &Registered| json!({"name": n.name, "labels": n.labels, "default": default(n)});
        Value::Array(namespaces.iter().map(value).collect())
    };
    let row = |n: &Registered| vec![n.name.clone(), default(n).into(), show_labels(&n.labels)];
    match format {
        Format::Yaml => output::yaml(&values()),
        Format::Json => output::json(&values()),
        Format::Name => Ok(namespaces.iter().map(|n| n.name.clone() + "\n").collect()),
        Format::Table | Format::Wide => Ok(output::table(
            &["NAME", "DEFAULT", "LABELS"],
            namespaces.iter().map(row),
        )),
    }
}

fn default(namespace: &Registered) -> &'static str {
    match namespace.default_action() {
        Default::Deny => "deny",
        Default::Allow | Default::Unspecified => "allow",
    }
}
