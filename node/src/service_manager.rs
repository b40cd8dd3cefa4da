//! What the service manager is told, at a socket with a path or an abstract name.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::{
    env,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Ready to serve.
pub const READY: &str = "READY=1\n";
/// About to end.
pub const STOPPING: &str = "STOPPING=1\n";
/// Alive.
pub const WATCHDOG: &str = "WATCHDOG=1\n";

/// Sends it what `sd_notify(3)` describes, perhaps with a descriptor. Nothing without a service manager.
///
/// # Errors
/// Those of the socket.
pub fn tell(state: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut room);
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bytes = [IoSlice::new(state.as_bytes())];
    sendmsg(&socket, &bytes, &mut beside, SendFlags::empty())?;
    Ok(())
}
