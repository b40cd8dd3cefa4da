//! `palisadectl get`: resources, as tables or as input for `apply`.

use crate::{
    args::{Args, Format, Get},
    client::Client,
    failure::Failure,
    output::{self, Shown},
    status, unreadable,
};
use palisade_model::Kind;
use palisade_proto::v1::{
    GetResourceRequest, ListNodesRequest, ListResourcesRequest, Resource, ResourceRef,
    UnreadableRow,
};
use serde_json::Value;

pub(super) async fn run(args: &Args, asked: &Get) -> Result<u8, Failure> {
    let kind = kind(&asked.kind)?;
    let client = Client::connect(args).await?;
    if kind == Kind::Node && matches!(asked.output, Format::Table | Format::Wide) {
        return nodes(&client, asked).await;
    }
    let mut unreadable = Vec::new();
    let (shown, mut resources) = if asked.names.is_empty() {
        let listing = list(&client, kind, asked).await?;
        unreadable = listing.unreadable;
        let shown = Shown::Listed {
            kind: kind.to_string(),
            revision: listing.revision,
        };
        (shown, listing.resources)
    } else {
        (Shown::Named, named(&client, kind, asked).await?)
    };
    if asked.output == Format::Wide && matches!(kind, Kind::HostEndpoint | Kind::WorkloadEndpoint) {
        show_status(&client, &mut resources).await?;
    }
    print!(
        "{}",
        output::resources(kind, asked.output, &shown, &resources)?
    );
    Ok(unreadable::warn(&unreadable))
}

/// The kind a person means.
pub(super) fn kind(text: &str) -> Result<Kind, Failure> {
    Kind::parse(text).ok_or_else(|| {
        let known: Vec<String> = Kind::ALL.iter().map(|k| k.plural()).collect();
        Failure::invalid(format!("`{text}` is not a kind"))
            .hint(format!("kinds: {}", known.join(", ")))
    })
}

/// The namespace to ask for: none for cluster-scoped kinds.
pub(super) fn namespace(kind: Kind, given: Option<&str>) -> String {
    if kind.is_namespaced() {
        given.unwrap_or("default").to_owned()
    } else {
        String::new()
    }
}

async fn named(client: &Client, kind: Kind, asked: &Get) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::with_capacity(asked.names.len());
    for name in &asked.names {
        let reference = ResourceRef {
            kind: kind.to_string(),
            namespace: namespace(kind, asked.namespace.as_deref()),
            name: name.clone(),
        };
        let answer = client
            .resources()
            .get_resource(client.request(GetResourceRequest {
                r#ref: Some(reference),
            }))
            .await?
            .into_inner();
        let mut value = parse(answer.resource)?;
        if asked.export {
            output::export(&mut value);
        }
        found.push(value);
    }
    Ok(found)
}

/// All resources of a kind.
struct Listing {
    revision: u64,
    resources: Vec<Value>,
    /// Rows that are of the kind, and that nobody can show.
    unreadable: Vec<UnreadableRow>,
}

async fn list(client: &Client, kind: Kind, asked: &Get) -> Result<Listing, Failure> {
    let (mut resources, mut unreadable) = (Vec::new(), Vec::new());
    let mut page_token = String::new();
    loop {
        let page = client
            .resources()
            .list_resources(client.request(ListResourcesRequest {
                kind: kind.to_string(),
                namespace: if asked.all_namespaces {
                    String::new()
                } else {
                    namespace(kind, asked.namespace.as_deref())
                },
                page_size: 1000,
                page_token,
                label_selector: asked.selector.clone().unwrap_or_default(),
            }))
            .await?
            .into_inner();
        for resource in page.resources {
            resources.push(parse(Some(resource))?);
        }
        unreadable.extend(page.unreadable);
        if page.next_page_token.is_empty() {
            return Ok(Listing {
                revision: page.resource_version,
                resources,
                unreadable,
            });
        }
        page_token = page.next_page_token;
    }
}

fn parse(resource: Option<Resource>) -> Result<Value, Failure> {
    let json = resource.map(|r| r.json).unwrap_or_default();
    serde_json::from_slice(&json)
        .map_err(|error| Failure::error(format!("the server's answer is not a resource: {error}")))
}

/// Adds how endpoints fare, for a table only: it is not part of the resources.
async fn show_status(client: &Client, resources: &mut [Value]) -> Result<(), Failure> {
    let request = client.request(ListNodesRequest {});
    let nodes = client
        .observe()
        .list_nodes(request)
        .await?
        .into_inner()
        .nodes;
    for resource in resources {
        if let Some(shown) = status::endpoint_value(&nodes, resource)
            && let Some(resource) = resource.as_object_mut()
        {
            resource.insert("status".to_owned(), shown);
        }
    }
    Ok(())
}

/// Nodes as a table show how far each is, which is what one wants to know of them.
async fn nodes(client: &Client, asked: &Get) -> Result<u8, Failure> {
    let known = client
        .observe()
        .list_nodes(client.request(ListNodesRequest {}))
        .await?
        .into_inner()
        .nodes;
    let mut unreadable = Vec::new();
    let listed: Vec<Value> = if asked.names.is_empty() {
        let listing = list(client, Kind::Node, asked).await?;
        unreadable = listing.unreadable;
        listing.resources
    } else {
        named(client, Kind::Node, asked).await?
    };
    let wanted = |name: &str| {
        listed
            .iter()
            .any(|r| r.pointer("/metadata/name").and_then(Value::as_str) == Some(name))
    };
    let nodes: Vec<_> = known.into_iter().filter(|n| wanted(&n.name)).collect();
    print!("{}", status::nodes(asked.output, &nodes)?);
    Ok(unreadable::warn(&unreadable))
}
