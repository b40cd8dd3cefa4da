//! Positions, inventories, and what a node reports of its machine.

use super::{Field, address::decode_address, fault, interface_name, list, number, text};
use crate::{
    digest::ItemHash,
    fault::{FieldFault, FieldReason},
    item::ItemId,
    packet::{Environment, Interface, Master},
    view::{Digest, Epoch, Position},
};
use palisade_proto::v1;
use std::{collections::BTreeMap, net::SocketAddr};

impl From<&Position> for v1::Position {
    fn from(position: &Position) -> Self {
        Self {
            epoch: position.epoch.0.to_vec(),
            revision: position.revision,
            digest: position.digest.0.to_vec(),
        }
    }
}

impl TryFrom<&v1::Position> for Position {
    type Error = FieldFault;

    fn try_from(message: &v1::Position) -> Result<Self, FieldFault> {
        let missing = |field| FieldFault::new(field, FieldReason::Missing);
        Ok(Self {
            epoch: Epoch(
                message
                    .epoch
                    .as_slice()
                    .try_into()
                    .map_err(|_| missing("epoch"))?,
            ),
            revision: message.revision,
            digest: Digest(
                message
                    .digest
                    .as_slice()
                    .try_into()
                    .map_err(|_| missing("digest"))?,
            ),
        })
    }
}

/// An inventory as a message.
pub fn encode_inventory(hashes: &BTreeMap<ItemId, ItemHash>) -> v1::Inventory {
    v1::Inventory {
        items: hashes
            .iter()
            .map(|(id, hash)| v1::InventoryItem {
                kind: v1::ItemKind::from(id.kind).into(),
                id: id.id.to_string(),
                hash: hash.0.to_vec(),
            })
            .collect(),
    }
}

/// The machine that a report describes.
///
/// # Errors
/// The first field that is not what it should be.
pub fn report_environment(report: &v1::NodeReport) -> Result<Environment, FieldFault> {
    let interfaces = list("interfaces", &report.interfaces, |interface| {
        let name = interface_name("name", interface.name.clone())?;
        let mut addresses = list("addresses", &interface.addresses, |bytes| {
            decode_address("", bytes)
        })?;
        addresses.sort_unstable();
        let master = match &interface.master {
            None => None,
            Some(master) => Some(Master {
                name: interface_name("master.name", master.name.clone())?,
                kind: text("master.kind", master.kind.clone(), |kind| kind.len() <= 16)?,
            }),
        };
        Ok((
            name,
            Interface {
                up: interface.up,
                addresses,
                master,
            },
        ))
    })?;
    let mut control_plane = list("control_plane", &report.control_plane, socket)?;
    control_plane.sort_unstable();
    let count = interfaces.len();
    let interfaces: BTreeMap<_, _> = interfaces.into_iter().collect();
    if interfaces.len() != count {
        return fault("interfaces", FieldReason::Unexpected);
    }
    Ok(Environment {
        interfaces,
        control_plane,
    })
}

fn socket(message: &v1::SocketAddress) -> Field<SocketAddr> {
    Ok(SocketAddr::new(
        decode_address("address", &message.address)?,
        number("port", message.port, 1, 65535)?,
    ))
}
