//! Links and addresses of this network namespace, as they change.
//!
//! A notification only says that something changed: all that is queued is taken at once, then links and addresses are
//! read whole. So nothing depends on the order of notifications, and lost ones cost nothing. A read that fails, or that
//! the kernel interrupts, changes nothing: what was read before counts until a whole read says otherwise.

use crate::{backoff::Backoff, cause::chain, readiness::Readiness};
use palisade_netfilter::{Link, LinkMaster, Links, ReadError};
use palisade_policy::{
    ids::IfName,
    packet::{Interface, Master},
};
use std::{collections::BTreeMap, io, time::Duration};
use tokio::{sync::watch, time::Instant};

#[cfg(test)]
mod tests;

/// Interfaces by name.
pub type Interfaces = BTreeMap<IfName, Interface>;

/// Read again after this time even if the kernel says nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one read to the next at least: hundreds of interfaces that come and go cost twenty reads a second. After a
/// quieter time the first read follows its notification at once.
const EVERY: Duration = Duration::from_millis(50);
/// First reads that the kernel may interrupt while a machine starts: five seconds' worth.
const FIRST_READS: usize = 100;

/// Why interfaces cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum InterfacesError {
    /// A socket cannot be opened.
    #[error("open a route netlink socket")]
    Socket(#[source] io::Error),
    /// Links and addresses cannot be read.
    #[error("read links and addresses")]
    Read(#[source] ReadError),
}

/// Where interfaces are read, and who says that they may have changed.
pub trait Source: Send + Sync + 'static {
    /// Until [`Self::changed`] may be true. May be dropped at any time.
    fn wait(&self) -> impl Future<Output = ()> + Send;

    /// Takes all that was said; whether there was anything.
    ///
    /// # Errors
    /// Nothing will be heard any more.
    fn changed(&mut self) -> io::Result<bool>;

    /// All interfaces.
    ///
    /// # Errors
    /// Not all of them could be read.
    fn read(&mut self) -> Result<Interfaces, ReadError>;
}

/// Those of the kernel.
pub struct KernelLinks {
    links: Links,
    readiness: Readiness,
}

impl KernelLinks {
    /// Hears and reads in the network namespace of this thread; within a runtime.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub fn open() -> io::Result<Self> {
        let links = Links::open()?;
        let readiness = Readiness::of(&links)?;
        Ok(Self { links, readiness })
    }
}

impl Source for KernelLinks {
    async fn wait(&self) {
        self.readiness.wait().await;
    }

    fn changed(&mut self) -> io::Result<bool> {
        self.links.changed()
    }

    fn read(&mut self) -> Result<Interfaces, ReadError> {
        let links = self.links.read()?;
        Ok(links.into_iter().map(interface).collect())
    }
}

fn interface(link: Link) -> (IfName, Interface) {
    let master = |LinkMaster { name, kind }| Master {
        name: IfName::new(name),
        kind,
    };
    let interface = Interface {
        up: link.up,
        addresses: link.addresses,
        master: link.master.map(master),
    };
    (IfName::new(link.name), interface)
}

/// Reads the interfaces and keeps them read: the receiver always has the latest, and changes only when they do.
///
/// # Errors
/// The first read failed.
pub async fn watch_interfaces() -> Result<watch::Receiver<Interfaces>, InterfacesError> {
    watch_source(KernelLinks::open).await
}

/// The same from any source, which is opened anew when it fails.
///
/// # Errors
/// As [`watch_interfaces`].
pub async fn watch_source<S: Source>(
    mut open: impl FnMut() -> io::Result<S> + Send + 'static,
) -> Result<watch::Receiver<Interfaces>, InterfacesError> {
    let mut source = open().map_err(InterfacesError::Socket)?;
    let first = first(&mut source).await?;
    let mut reader = Reader {
        sender: watch::Sender::new(first),
        last: Instant::now(),
    };
    let receiver = reader.sender.subscribe();
    tokio::spawn(async move {
        let mut patience = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        // Whether something may have changed that nobody will say.
        let mut missed = false;
        while let Err(err) = reader.keep_read(&mut source, missed, &mut patience).await {
            tracing::warn!(err = %chain(&err), "interfaces are read anew; those read before count");
            let wait = patience.next(&mut rand::rng());
            tokio::time::sleep(wait).await;
            missed = true;
            match open() {
                Ok(new) => source = new,
                Err(err) => tracing::warn!(%err, "interfaces cannot be read"),
            }
        }
    });
    Ok(receiver)
}

async fn first(source: &mut impl Source) -> Result<Interfaces, InterfacesError> {
    for _ in 1..FIRST_READS {
        match source.read() {
            Err(ReadError::Changing) => tokio::time::sleep(EVERY).await,
            done => return done.map_err(InterfacesError::Read),
        }
    }
    source.read().map_err(InterfacesError::Read)
}

struct Reader {
    sender: watch::Sender<Interfaces>,
    /// The last read.
    last: Instant,
}

impl Reader {
    /// Until nobody listens any more.
    async fn keep_read(
        &mut self,
        source: &mut impl Source,
        mut pending: bool,
        patience: &mut Backoff,
    ) -> Result<(), InterfacesError> {
        loop {
            if !pending {
                tokio::select! {
                    () = self.sender.closed() => return Ok(()),
                    () = source.wait() => {
                        if !source.changed().map_err(InterfacesError::Socket)? {
                            continue;
                        }
                    }
                    () = tokio::time::sleep(PATIENCE) => {}
                }
            }
            tokio::time::sleep_until(self.last + EVERY).await;
            // What was said while this one waited is part of the read.
            source.changed().map_err(InterfacesError::Socket)?;
            self.last = Instant::now();
            match source.read() {
                Ok(latest) => {
                    pending = false;
                    patience.reset();
                    self.publish(latest);
                }
                Err(ReadError::Changing) => pending = true,
                Err(err) => return Err(InterfacesError::Read(err)),
            }
        }
    }

    fn publish(&self, latest: Interfaces) {
        self.sender.send_if_modified(|known| {
            let changed = *known != latest;
            if changed {
                *known = latest;
            }
            changed
        });
    }
}
