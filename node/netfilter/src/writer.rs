//! The one socket that writes: every transaction of this daemon goes through it, one after the other.
//!
//! Owned tables belong to a socket, so a second one could change nothing in them. One writer also knows how many of
//! nf_tables' generations are its own, which is how [`crate::Netfilter::read`] tells its own heartbeats from the
//! changes of others.

use crate::{
    commit::control,
    message::Messages,
    native::Buffer,
    socket::{Socket, Wait},
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Writes transactions in the network namespace of the thread that opened it. Cheap to clone; clones are one socket, which
/// is closed with the last of them and in every child process.
#[derive(Clone)]
pub struct Writer {
    pen: Arc<Mutex<Pen>>,
    port: u32,
}

/// What whoever writes holds alone.
pub(crate) struct Pen {
    pub(crate) socket: Socket,
    pub(crate) buffer: Buffer,
    /// Transactions that the kernel took from this socket; wraps as generations do.
    committed: u32,
}

// === impl Writer ===

impl Writer {
    /// A socket of its own. Needs `CAP_NET_ADMIN` for everything that it will be asked.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> io::Result<Self> {
        Ok(Self::of(Socket::open()?))
    }

    /// The socket of a writer before us, which somebody kept open meanwhile: what it owned is ours.
    ///
    /// # Errors
    /// It is no such socket, or of another network namespace.
    pub fn handed_over(descriptor: &OwnedFd) -> io::Result<Self> {
        Ok(Self::of(Socket::handed_over(descriptor)?))
    }

    fn of(socket: Socket) -> Self {
        let port = socket.port();
        let pen = Pen {
            socket,
            buffer: Buffer::default(),
            committed: 0,
        };
        let pen = Arc::new(Mutex::new(pen));
        Self { pen, port }
    }

    /// The socket once more, for whoever keeps it open while no process of ours runs.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.lock().socket.as_fd().try_clone_to_owned()
    }

    /// The socket's port: the kernel names it in what it says about this socket's transactions, and as owner of tables.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Waits for the transaction under way, if there is one, and keeps others waiting.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Pen> {
        // Whoever panicked left at most an unfinished batch in the buffer, which the next one clears.
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pen ===

impl Pen {
    /// Transactions that the kernel took from this socket so far.
    pub(crate) fn committed(&self) -> u32 {
        self.committed
    }

    /// Sends the batch in the buffer, and hands every complaint of the kernel to `each`. nf_tables commits within the send,
    /// and its complaints are queued before that returns.
    ///
    /// # Errors
    /// The socket's. After ENOBUFS some complaints are lost, and it is not known whether the batch was taken.
    pub(crate) fn send(
        &mut self,
        mut each: impl FnMut(&crate::message::Message<'_>, &[u8]),
    ) -> io::Result<()> {
        self.socket.drain()?;
        self.socket.send(self.buffer.bytes())?;
        let mut refused = false;
        while let Some(datagram) = self.socket.receive(Wait::Never)? {
            for message in Messages(datagram).filter(|message| message.kind == control::ERROR) {
                if message.errno() != Some(0) {
                    refused = true;
                    each(&message, self.buffer.bytes());
                }
            }
        }
        if !refused {
            self.committed = self.committed.wrapping_add(1);
        }
        Ok(())
    }
}

/// May be used by several threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Writer>();
};
