//! The way to a server: its addresses, an exemption for them in the kernel, a connection.
//!
//! Promise 7: the resolver is asked, and where it does not answer, the addresses remembered are used. The kernel lets the
//! connection out before it is tried, whatever policy says.

use super::{
    connect::{ConnectError, connect, resolve},
    state::{Link, kind},
};
use crate::{arguments::Server, cause::chain, enforce::Observed};
use rustls::ClientConfig;
use std::{net::SocketAddr, time::Duration};
use tokio::{sync::watch, time::timeout};
use tonic::transport::Channel;

pub use super::servers::{Role, Servers};

/// How long to wait for the exemption. The connection is tried without it then: policy may allow it, or there is none.
const EXEMPTION: Duration = Duration::from_secs(5);

/// Connects to servers of the control plane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Way {
    servers: Servers,
    /// What the kernel's owner takes into account.
    observed: watch::Receiver<Observed>,
    link: Link,
}

impl Way {
    /// To these servers; what is observed says when the kernel's owner takes new addresses into account.
    pub fn new(servers: Servers, observed: watch::Receiver<Observed>, link: Link) -> Self {
        Self {
            servers,
            observed,
            link,
        }
    }

    /// The server of this role, as it was given.
    pub fn server(&self, role: Role) -> &Server {
        self.servers.server(role)
    }

    /// A channel over one connection.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, role: Role, tls: ClientConfig) -> Result<Channel, ConnectError> {
        let addresses = self.addresses(role).await?;
        self.exempt().await;
        connect(self.server(role), &addresses, tls).await
    }

    /// Resolved, else remembered.
    async fn addresses(&self, role: Role) -> Result<Vec<SocketAddr>, ConnectError> {
        let server = self.server(role);
        match resolve(server).await {
            Ok(addresses) => {
                self.link.clear(kind::RESOLVER);
                match self.servers.learn(role, &addresses).await {
                    Ok(()) => self.link.clear(kind::ADDRESSES),
                    Err(err) => {
                        let message = format!("the state directory: {err}");
                        self.link.set(kind::ADDRESSES, "NotWritten", message);
                    }
                }
                Ok(addresses)
            }
            Err(err) => {
                let remembered = self.servers.known(role);
                let (reason, means) = match remembered.len() {
                    0 => ("Unresolved", "no address is remembered".to_owned()),
                    count => (
                        "Remembered",
                        format!("{count} remembered addresses are used"),
                    ),
                };
                let message = format!("{}; {means}", chain(&err));
                self.link.set(kind::RESOLVER, reason, message);
                if remembered.is_empty() {
                    return Err(err);
                }
                Ok(remembered)
            }
        }
    }

    /// Returns once the kernel's owner takes every known address into account.
    async fn exempt(&self) {
        let sockets = self.servers.sockets();
        let mut observed = self.observed.clone();
        let exempt =
            observed.wait_for(|observed| observed.environment.control_plane == *sockets.borrow());
        match timeout(EXEMPTION, exempt).await {
            Ok(_) => {}
            Err(_) => tracing::warn!("the connection to the control plane is not exempt yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    fn server(host: &str) -> Server {
        Server {
            host: host.into(),
            port: 7600,
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_leads_to_the_addresses_remembered_and_is_a_condition() {
        let dir = tempfile::tempdir().expect("tempdir");
        // RFC 6761: never resolves.
        let name = server("control.invalid");
        let servers = Servers::open(dir.path(), &name, None);
        let link = Link::new(&name);
        let way = Way::new(servers.clone(), watch::channel(Observed::default()).1, link);
        let reasons = || {
            let conditions = way.link.conditions().into_iter();
            conditions.map(|told| told.reason).collect::<Vec<_>>()
        };
        assert!(matches!(
            way.addresses(Role::Api).await,
            Err(ConnectError::Resolve { .. })
        ));
        assert_eq!(reasons(), ["Unresolved"]);
        let address: SocketAddr = "10.0.0.1:7600".parse().expect("address");
        servers.learn(Role::Api, &[address]).await.expect("kept");
        assert_eq!(way.addresses(Role::Api).await.expect("some"), [address]);
        assert_eq!(reasons(), ["Remembered"]);
        let enrolment = way.addresses(Role::Enrollment).await.expect("some");
        assert_eq!(enrolment, [SocketAddr::new(address.ip(), 7601)]);
    }

    #[tokio::test]
    async fn resolved_addresses_win_and_end_the_condition() {
        let dir = tempfile::tempdir().expect("tempdir");
        let name = server("localhost");
        let servers = Servers::open(dir.path(), &name, None);
        let old: SocketAddr = "10.0.0.1:7600".parse().expect("address");
        servers.learn(Role::Api, &[old]).await.expect("kept");
        let way = Way::new(
            servers,
            watch::channel(Observed::default()).1,
            Link::new(&name),
        );
        way.link.set(kind::RESOLVER, "Remembered", String::new());
        let found = way.addresses(Role::Api).await.expect("resolved");
        assert!(found.iter().all(|at| at.ip().is_loopback()), "{found:?}");
        assert_eq!(way.servers.known(Role::Api), found);
        assert_eq!(way.link.conditions(), []);
    }

    #[tokio::test]
    async fn nothing_is_tried_before_the_addresses_are_exempt() {
        let dir = tempfile::tempdir().expect("tempdir");
        let name = server("127.0.0.1");
        let servers = Servers::open(dir.path(), &name, None);
        let (sender, observed) = watch::channel(Observed::default());
        let way = Way::new(servers.clone(), observed, Link::new(&name));
        let mut exempt = pin!(way.exempt());
        let mut context = Context::from_waker(Waker::noop());
        let polled = exempt.as_mut().poll(&mut context);
        assert!(polled.is_pending(), "not exempt yet");
        sender.send_modify(|observed| {
            observed.environment.control_plane = servers.sockets().borrow().clone();
        });
        exempt.await;
    }
}
