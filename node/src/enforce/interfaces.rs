//! Links and addresses of this network namespace, as they change.
//!
//! A notification only says that something changed: all that is queued is taken at once, then links and addresses are
//! read whole. So nothing depends on the order of notifications, and lost ones cost nothing.

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use palisade_policy::{ids::IfName, packet::Interface};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_route::{
        address::{AddressAttribute, AddressMessage},
        link::{LinkAttribute, LinkFlags, LinkMessage},
    },
};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// Interfaces by name.
pub type Interfaces = BTreeMap<IfName, Interface>;

/// Read again after this time even if the kernel says nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why interfaces cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum InterfacesError {
    /// The socket cannot be opened.
    #[error("open a route netlink socket")]
    Socket(#[source] std::io::Error),
    /// A dump failed.
    #[error("read links and addresses")]
    Dump(#[source] rtnetlink::Error),
    /// The connection ended.
    #[error("the route netlink connection ended")]
    Ended,
}

/// Reads the interfaces and keeps them read: the receiver always has the latest, and changes only when they do.
///
/// # Errors
/// The first read failed.
pub async fn watch_interfaces() -> Result<watch::Receiver<Interfaces>, InterfacesError> {
    let mut source = Source::open()?;
    let (sender, receiver) = watch::channel(source.read().await?);
    tokio::spawn(async move {
        loop {
            match follow(&mut source, &sender).await {
                Ok(()) => return,
                Err(err) => tracing::warn!(%err, "interfaces are read anew"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            match Source::open() {
                Ok(new) => source = new,
                Err(err) => tracing::warn!(%err, "interfaces cannot be read"),
            }
        }
    });
    Ok(receiver)
}

/// Until nobody listens any more.
async fn follow(
    source: &mut Source,
    sender: &watch::Sender<Interfaces>,
) -> Result<(), InterfacesError> {
    while !sender.is_closed() {
        let latest = source.read().await?;
        sender.send_if_modified(|known| {
            let changed = *known != latest;
            if changed {
                *known = latest;
            }
            changed
        });
        source.changed().await?;
    }
    Ok(())
}

type Messages = futures_util::stream::BoxStream<'static, ()>;

struct Source {
    handle: Handle,
    messages: Messages,
    connection: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Source {
    fn open() -> Result<Self, InterfacesError> {
        // Joined before the first read, so that no change falls between.
        let (connection, handle, messages) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ])
        .map_err(InterfacesError::Socket)?;
        Ok(Self {
            handle,
            messages: messages.map(|_| ()).boxed(),
            connection: tokio::spawn(connection),
        })
    }

    /// Waits for a notification and takes those that are queued with it.
    async fn changed(&mut self) -> Result<(), InterfacesError> {
        if let Ok(None) = tokio::time::timeout(PATIENCE, self.messages.next()).await {
            return Err(InterfacesError::Ended);
        }
        while let Some(next) = self.messages.next().now_or_never() {
            next.ok_or(InterfacesError::Ended)?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Interfaces, InterfacesError> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(InterfacesError::Dump)?;
        let addresses: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(InterfacesError::Dump)?;
        Ok(assemble(&links, &addresses))
    }
}

fn assemble(links: &[LinkMessage], addresses: &[AddressMessage]) -> Interfaces {
    let mut by_index: BTreeMap<u32, (IfName, Interface)> = BTreeMap::new();
    for link in links {
        let name = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(IfName::from(name.as_str())),
                _ => None,
            });
        if let Some(name) = name {
            let up = link
                .header
                .flags
                .contains(LinkFlags::Up | LinkFlags::Running);
            let interface = Interface {
                up,
                addresses: Vec::new(),
                master: None,
            };
            by_index.insert(link.header.index, (name, interface));
        }
    }
    for message in addresses {
        if let (Some((_, interface)), Some(address)) =
            (by_index.get_mut(&message.header.index), local(message))
        {
            interface.addresses.push(address);
        }
    }
    by_index
        .into_values()
        .map(|(name, mut interface)| {
            interface.addresses.sort_unstable();
            interface.addresses.dedup();
            (name, interface)
        })
        .collect()
}

/// The host's own address: `Local` on point-to-point links, where `Address` is the peer's.
fn local(message: &AddressMessage) -> Option<IpAddr> {
    let own = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    own.or_else(|| {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_its_own_address_not_its_peers() {
        let mut link = LinkMessage::default();
        link.header.index = 3;
        link.header.flags = LinkFlags::Up | LinkFlags::Running;
        link.attributes = vec![LinkAttribute::IfName("tun0".into())];
        let mut address = AddressMessage::default();
        address.header.index = 3;
        address.attributes = vec![
            AddressAttribute::Address([10, 0, 0, 2].into()),
            AddressAttribute::Local([10, 0, 0, 1].into()),
        ];
        let mut foreign = address.clone();
        foreign.header.index = 4;
        let interfaces = assemble(&[link], &[address, foreign]);
        let expected = Interface {
            up: true,
            addresses: vec![[10, 0, 0, 1].into()],
            master: None,
        };
        assert_eq!(interfaces, BTreeMap::from([("tun0".into(), expected)]));
    }

    #[test]
    fn a_link_without_carrier_is_not_up() {
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.attributes = vec![LinkAttribute::IfName("eth0".into())];
        let interfaces = assemble(&[link], &[]);
        assert_eq!(
            interfaces.values().map(|i| i.up).collect::<Vec<_>>(),
            [false]
        );
    }
}
