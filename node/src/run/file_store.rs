//! The service manager's file store: it keeps the socket that owns our tables while no daemon runs, so that they have an
//! owner over a restart (`FileDescriptorStoreMax=1` in the unit).
//!
//! Without a service manager, or with one that stores nothing, the tables have no owner from the end of a daemon to the
//! start of the next one.

use crate::service_manager::tell;
use palisade_netfilter::{Writer, passed};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// The socket's name in the store.
const NAME: &str = "palisade-nftables";

/// What the service manager passes of it. To be asked before this process opens anything: a service manager may name
/// descriptors that it did not pass, and ours would be taken for them.
pub fn stored() -> Vec<OwnedFd> {
    passed(NAME).unwrap_or_else(|err| {
        tracing::warn!(%err, "what the service manager passes cannot be taken");
        Vec::new()
    })
}

/// The socket that a daemon before us left in the store, if it is of any use. Other sockets under its name are closed, here
/// and in the store.
pub(super) fn take(stored: &[OwnedFd]) -> Option<Writer> {
    let writer = match stored {
        [] => return None,
        [socket] => Writer::handed_over(socket),
        several => Err(io::Error::other(format!("{} of them", several.len()))),
    };
    match writer {
        Ok(writer) => {
            tracing::info!("the socket that owns our tables came from the service manager");
            Some(writer)
        }
        Err(err) => {
            tracing::warn!(%err, "the stored socket is not used");
            remove();
            None
        }
    }
}

/// Has the service manager keep the socket. What is there already is not kept twice.
pub(super) fn keep(writer: &Writer) {
    // Without FDPOLL=0 the service manager drops a socket once an error waits at it, as when replies are lost.
    let state = format!("FDSTORE=1\nFDNAME={NAME}\nFDPOLL=0\n");
    let kept = writer
        .descriptor()
        .and_then(|socket| tell(&state, Some(socket.as_fd())));
    if let Err(err) = kept {
        tracing::warn!(%err, "the service manager does not keep the socket that owns our tables");
    }
}

/// Has the service manager close the socket: our tables are to have no owner.
pub(super) fn remove() {
    if let Err(err) = tell(&format!("FDSTOREREMOVE=1\nFDNAME={NAME}\n"), None) {
        tracing::warn!(%err, "the service manager keeps a socket that is not used");
    }
}
