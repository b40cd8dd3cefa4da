//! Which addresses the control plane has: those of its API and of its enrolment, as resolved last, kept across restarts.
//!
//! The exemption of the way to the control plane is part of the ruleset that a node enforces before it has a network, so
//! the addresses are kept beside the view. They are also where a node connects while no resolver answers.

use crate::{arguments::Server, durable};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

const FILE: &str = "servers";

/// What a server is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The stream, and all else that a node with a certificate asks for.
    Api,
    /// Certificates for join tokens.
    Enrollment,
}

/// The servers and their addresses. Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct Servers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    api: Server,
    enrollment: Server,
    known: Mutex<Known>,
    sockets: watch::Sender<Vec<SocketAddr>>,
}

/// Addresses by role, each sorted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Known {
    api: Vec<SocketAddr>,
    enrollment: Vec<SocketAddr>,
    /// The file says so, too.
    kept: bool,
}

impl Servers {
    /// Those given, with what the state directory remembers of them. Without an enrolment server it is port 7601 of the
    /// API's host.
    pub fn open(dir: &Path, api: &Server, enrollment: Option<&Server>) -> Self {
        let path = dir.join(FILE);
        let enrollment = enrollment.cloned().unwrap_or_else(|| api.at_port(7601));
        let content = durable::read(&path).unwrap_or_else(|err| {
            tracing::warn!(%err, "remembered addresses of the control plane cannot be read");
            None
        });
        let text = String::from_utf8_lossy(&content.unwrap_or_default()).into_owned();
        let mut known = Known {
            api: literal(api).unwrap_or_else(|| section(&text, api)),
            enrollment: literal(&enrollment).unwrap_or_else(|| section(&text, &enrollment)),
            kept: true,
        };
        if known.enrollment.is_empty() && enrollment.host == api.host {
            known.enrollment = at_port(&known.api, enrollment.port);
        }
        let sockets = watch::Sender::new(known.sockets());
        Self(Arc::new(Inner {
            path,
            api: api.clone(),
            enrollment,
            known: Mutex::new(known),
            sockets,
        }))
    }

    /// The server of this role, as it was given.
    pub fn server(&self, role: Role) -> &Server {
        match role {
            Role::Api => &self.0.api,
            Role::Enrollment => &self.0.enrollment,
        }
    }

    /// Every address and port of every role, sorted: what is exempt from policy.
    pub fn sockets(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.0.sockets.subscribe()
    }

    /// Addresses of this role.
    pub fn known(&self, role: Role) -> Vec<SocketAddr> {
        let known = self.lock();
        match role {
            Role::Api => known.api.clone(),
            Role::Enrollment => known.enrollment.clone(),
        }
    }

    /// Takes addresses that were resolved in place of those known, and keeps them. A host that serves both roles has the
    /// same addresses for both.
    ///
    /// # Errors
    /// They are known, but could not be written.
    pub async fn learn(&self, role: Role, addresses: &[SocketAddr]) -> io::Result<()> {
        let known = {
            let mut known = self.lock();
            let before = known.clone();
            let same_host = self.0.api.host == self.0.enrollment.host;
            if role == Role::Api || same_host {
                known.api = at_port(addresses, self.0.api.port);
            }
            if role == Role::Enrollment || same_host {
                known.enrollment = at_port(addresses, self.0.enrollment.port);
            }
            if known.kept && *known == before {
                return Ok(());
            }
            known.kept = false;
            known.clone()
        };
        let sockets = known.sockets();
        self.0.sockets.send_if_modified(|current| {
            let changed = *current != sockets;
            *current = sockets;
            changed
        });
        let (path, text) = (self.0.path.clone(), self.text(&known));
        let write = move || match text.is_empty() {
            true => Ok(()),
            false => durable::replace(&path, text.as_bytes()),
        };
        tokio::task::spawn_blocking(write)
            .await
            .unwrap_or_else(|err| Err(io::Error::other(err)))?;
        self.lock().kept = true;
        Ok(())
    }

    /// Writes the addresses again if somebody removed them from the state directory. Waits for the disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_if_removed(&self) -> io::Result<()> {
        let known = self.lock().clone();
        let text = self.text(&known);
        if known.sockets().is_empty() || text.is_empty() || self.0.path.try_exists()? {
            return Ok(());
        }
        durable::replace(&self.0.path, text.as_bytes())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server's text on a line, its addresses on the lines below. An address given as such needs no memory.
    fn text(&self, known: &Known) -> String {
        let mut text = String::new();
        for (server, addresses) in [
            (&self.0.api, &known.api),
            (&self.0.enrollment, &known.enrollment),
        ] {
            if literal(server).is_none() {
                text.push_str(&format!("{server}\n"));
                for address in addresses {
                    text.push_str(&format!("{address}\n"));
                }
            }
        }
        text
    }
}

impl Known {
    fn sockets(&self) -> Vec<SocketAddr> {
        sorted(self.api.iter().chain(&self.enrollment).copied().collect())
    }
}

fn sorted(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn at_port(addresses: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut addresses = addresses.to_vec();
    for address in &mut addresses {
        address.set_port(port);
    }
    sorted(addresses)
}

/// The address of a server that was given as one.
fn literal(server: &Server) -> Option<Vec<SocketAddr>> {
    let address: IpAddr = server.host.parse().ok()?;
    Some(vec![SocketAddr::new(address, server.port)])
}

/// What stands below the server's line.
fn section(text: &str, server: &Server) -> Vec<SocketAddr> {
    let title = server.to_string();
    let below = text.lines().skip_while(|line| *line != title).skip(1);
    sorted(below.map_while(|line| line.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16) -> Server {
        Server {
            host: host.into(),
            port,
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn an_address_needs_no_memory_and_a_name_has_one_of_its_own() {
        let dir = tempfile::tempdir().expect("tempdir");
        let open = |host: &str| Servers::open(dir.path(), &server(host, 7600), None);
        let both = [at("10.0.0.1:7600"), at("10.0.0.1:7601")];
        assert_eq!(*open("10.0.0.1").sockets().borrow(), both);
        let named = open("control.example");
        assert_eq!(*named.sockets().borrow(), []);
        named.learn(Role::Api, &both[..1]).await.expect("kept");
        assert_eq!(*named.sockets().borrow(), both);
        assert_eq!(*open("control.example").sockets().borrow(), both);
        assert_eq!(*open("other.example").sockets().borrow(), []);
    }

    #[tokio::test]
    async fn an_enrolment_server_of_its_own_is_remembered_beside_the_api() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (api, enrollment) = (server("control.example", 7600), server("enrol.example", 99));
        let open = || Servers::open(dir.path(), &api, Some(&enrollment));
        let servers = open();
        let learn = async |role, text| servers.learn(role, &[at(text)]).await;
        learn(Role::Api, "10.0.0.1:7600").await.expect("kept");
        assert_eq!(servers.known(Role::Enrollment), []);
        learn(Role::Enrollment, "10.0.0.2:99").await.expect("kept");
        let again = open();
        assert_eq!(again.known(Role::Api), [at("10.0.0.1:7600")]);
        assert_eq!(again.known(Role::Enrollment), [at("10.0.0.2:99")]);
        // Another address of the API takes the place of the one known.
        learn(Role::Api, "10.0.0.3:7600").await.expect("kept");
        assert_eq!(
            *open().sockets().borrow(),
            [at("10.0.0.2:99"), at("10.0.0.3:7600")]
        );
    }

    #[test]
    fn a_file_of_an_older_version_names_the_api_and_so_the_enrolment() {
        let dir = tempfile::tempdir().expect("tempdir");
        let old = "control.example:7600\n10.0.0.1:7600\n";
        std::fs::write(dir.path().join(FILE), old).expect("written");
        let servers = Servers::open(dir.path(), &server("control.example", 7600), None);
        assert_eq!(servers.known(Role::Enrollment), [at("10.0.0.1:7601")]);
    }

    #[tokio::test]
    async fn addresses_that_could_not_be_kept_are_written_the_next_time() {
        let dir = tempfile::tempdir().expect("tempdir");
        // Renaming over a directory fails.
        std::fs::create_dir(dir.path().join(FILE)).expect("made");
        let api = server("control.example", 7600);
        let servers = Servers::open(dir.path(), &api, None);
        let addresses = [at("10.0.0.1:7600")];
        assert!(servers.learn(Role::Api, &addresses).await.is_err());
        assert_eq!(servers.known(Role::Api), addresses);
        std::fs::remove_dir(dir.path().join(FILE)).expect("removed");
        servers.learn(Role::Api, &addresses).await.expect("kept");
        let again = Servers::open(dir.path(), &api, None);
        assert_eq!(again.known(Role::Api), addresses);
    }
}
