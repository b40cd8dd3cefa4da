//! Waits for a descriptor of the kernel's without blocking the thread.

use std::{
    io,
    os::{fd::AsFd, unix},
};
use tokio::{io::Interest, net::UnixDatagram};

/// A duplicate of a descriptor, only waited for. Tokio takes netlink sockets by an unsafe door alone; to wait, one socket
/// for datagrams is as good as another.
#[derive(Debug)]
pub(crate) struct Readiness(UnixDatagram);

impl Readiness {
    /// Of a socket for datagrams; within a runtime.
    ///
    /// # Errors
    /// No descriptor is left, or the runtime cannot wait for it.
    pub(crate) fn of(descriptor: &impl AsFd) -> io::Result<Self> {
        let duplicate = descriptor.as_fd().try_clone_to_owned()?;
        let socket = unix::net::UnixDatagram::from(duplicate);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixDatagram::from_std(socket)?))
    }

    /// Until there may be something to read: take all of it then. May be dropped at any time.
    pub(crate) async fn wait(&self) {
        // Whether it is readable or has failed, the next read tells.
        let _ = self.0.readable().await;
        // Taken as read, before it is read: what comes after wakes again.
        let _: io::Result<()> = self
            .0
            .try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }
}
