//! `palisadectl identity`: identities (service accounts) that orchestrators register.

use crate::{
    args::{Args, Format, Identity},
    client::Client,
    failure::Failure,
    labels::{parse_labels, show_labels},
    output, unreadable,
};
use palisade_proto::v1::{
    DeleteIdentityRequest, Identity as Registered, ListIdentitiesRequest, PutIdentityRequest,
};
use serde_json::{Value, json};

pub(super) async fn run(args: &Args, identity: &Identity) -> Result<u8, Failure> {
    match identity {
        Identity::Create { id, labels } => {
            let (namespace, name) = id.clone();
            let identity = Registered {
                namespace,
                name,
                labels: parse_labels(labels)?,
            };
            let client = Client::connect(args).await?;
            let request = client.request(PutIdentityRequest {
                identity: Some(identity),
            });
            let answer = client.namespaces().put_identity(request).await?;
            println!("{}", answer.into_inner().profile);
        }
        Identity::List { namespace, output } => {
            let client = Client::connect(args).await?;
            let namespace = namespace.clone();
            let request = client.request(ListIdentitiesRequest { namespace });
            let answer = client.namespaces().list_identities(request).await?;
            let answer = answer.into_inner();
            print!("{}", show(*output, &answer.identities)?);
            return Ok(unreadable::warn(&answer.unreadable));
        }
        Identity::Delete { id } => {
            let (namespace, name) = id.clone();
            let client = Client::connect(args).await?;
            let request = client.request(DeleteIdentityRequest { namespace, name });
            client.namespaces().delete_identity(request).await?;
            println!("identity `{}/{}` deleted", id.0, id.1);
        }
    }
    Ok(0)
}

fn show(format: Format, identities: &[Registered]) -> Result<String, Failure> {
    let values = || {
        let value =
            |i: &Registered| json!({"namespace": i.namespace, "name": i.name, "labels": i.labels});
        Value::Array(identities.iter().map(value).collect())
    };
    let row = |i: &Registered| vec![i.namespace.clone(), i.name.clone(), show_labels(&i.labels)];
    let name = |i: &Registered| format!("{}/{}\n", i.namespace, i.name);
    match format {
        Format::Yaml => output::yaml(&values()),
        Format::Json => output::json(&values()),
        Format::Name => Ok(identities.iter().map(name).collect()),
        Format::Table | Format::Wide => Ok(output::table(
            &["NAMESPACE", "NAME", "LABELS"],
            identities.iter().map(row),
        )),
    }
}
