//! `palisadectl nodes` and `palisadectl status`: how far everybody is.

use crate::{
    args::{Args, Nodes, StatusArgs},
    client::Client,
    failure::Failure,
    status,
};
use palisade_proto::v1::{GetStatusRequest, ListNodesRequest};

pub(super) async fn nodes(args: &Args, asked: &Nodes) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let mut nodes = client
        .observe()
        .list_nodes(client.request(ListNodesRequest {}))
        .await?
        .into_inner()
        .nodes;
    if let Some(missing) = asked
        .names
        .iter()
        .find(|name| !nodes.iter().any(|n| n.name == **name))
    {
        return Err(Failure::not_found(format!("there is no node `{missing}`")));
    }
    if !asked.names.is_empty() {
        nodes.retain(|n| asked.names.contains(&n.name));
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    print!("{}", status::nodes(asked.output, &nodes)?);
    Ok(0)
}

pub(super) async fn status(args: &Args, asked: &StatusArgs) -> Result<u8, Failure> {
    let client = Client::connect(args).await?;
    let answer = client
        .observe()
        .get_status(client.request(GetStatusRequest {}))
        .await?
        .into_inner();
    print!("{}", status::control_plane(asked.output, &answer)?);
    Ok(0)
}
