//! One daemon per network namespace: two would undo each other's tables.
//!
//! The lock is an abstract Unix socket, since those belong to a network namespace and are gone with the process.

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
        sockopt::socket_peercred,
    },
    process::geteuid,
};
use std::io;

const NAME: &[u8] = b"palisade-node";

/// Held by the one daemon of this network namespace.
#[derive(Debug)]
pub struct NamespaceLock {
    /// None: a user without our rights has the name, whom we do not let keep us from enforcing.
    _socket: Option<OwnedFd>,
}

/// Another daemon enforces in this network namespace.
#[derive(Debug, thiserror::Error)]
#[error("process {pid} enforces in this network namespace")]
pub struct NamespaceInUse {
    /// The process.
    pub pid: i32,
}

/// Takes the lock; it is kept until it is dropped.
///
/// # Errors
/// [`NamespaceInUse`] inside if a daemon has it, else those of sockets.
pub fn lock_namespace() -> io::Result<NamespaceLock> {
    let name = SocketAddrUnix::new_abstract_name(NAME)?;
    let socket = open()?;
    match bind(&socket, &name) {
        Ok(()) => {
            // Who asks is told our pid and user by the kernel.
            listen(&socket, i32::MAX)?;
            Ok(NamespaceLock {
                _socket: Some(socket),
            })
        }
        Err(Errno::ADDRINUSE) => match holder(&name) {
            Ok(Some(pid)) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                NamespaceInUse { pid },
            )),
            // Anybody may take an abstract name.
            Ok(None) => {
                tracing::warn!("another user has the name of the lock; going on without it");
                Ok(NamespaceLock { _socket: None })
            }
            Err(err) => {
                tracing::warn!(%err, "who has the lock cannot be asked; going on without it");
                Ok(NamespaceLock { _socket: None })
            }
        },
        Err(err) => Err(err.into()),
    }
}

/// The daemon of this network namespace, if one holds the lock. Takes nothing.
///
/// # Errors
/// Those of sockets.
pub fn namespace_holder() -> io::Result<Option<i32>> {
    match holder(&SocketAddrUnix::new_abstract_name(NAME)?) {
        Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        other => other,
    }
}

/// The process that has the name, if it has our rights.
fn holder(name: &SocketAddrUnix) -> io::Result<Option<i32>> {
    let socket = open()?;
    connect(&socket, name)?;
    let credentials = socket_peercred(&socket)?;
    let ours = credentials.uid == geteuid();
    Ok(ours.then(|| credentials.pid.as_raw_nonzero().get()))
}

/// Without waiting: the queue of a socket that nobody accepts from is soon full.
fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}
