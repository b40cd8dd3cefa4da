//! A netlink socket to netfilter: buffers that grow, extended errors, receiving without waiting.

use libc::{c_int, c_void, timeval};
use mnl::{Bus, Socket as Mnl};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// The socket, and a buffer for what it receives.
pub(crate) struct Socket {
    mnl: Mnl,
    /// Kept apart: libmnl does not know that of a socket that was handed over.
    port: u32,
    received: Vec<u32>,
    /// What the send buffer is known to hold, in bytes.
    sendable: usize,
    sequence: u32,
}

// SAFETY: libmnl's socket is a descriptor and an address on the heap, bound to no thread; `&mut self` guards both.
unsafe impl Send for Socket {}

// SAFETY: through `&self` only the descriptor and the port are read, which never change.
unsafe impl Sync for Socket {}

/// Bytes of one datagram that can be received; the kernel's dumps come in 32 KiB at most.
const RECEIVED: usize = 64 * 1024;
/// Seconds to wait for what the kernel is sure to answer: only a lost reply is not there at once.
const PATIENCE: libc::time_t = 10;
/// Asked of the kernel for receiving; it doubles it.
const RECEIVE_BUFFER: c_int = 8 * 1024 * 1024;

impl Socket {
    /// A bound socket to netfilter in the network namespace of this thread.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_on(Bus::Netfilter)
    }

    /// The same to another part of the kernel.
    pub(crate) fn open_on(bus: Bus) -> io::Result<Self> {
        let mnl = Mnl::new(bus)?;
        let mut socket = Self {
            port: mnl.portid(),
            mnl,
            received: vec![0; RECEIVED / 4],
            sendable: 0,
            sequence: 1,
        };
        socket.prepare()?;
        Ok(socket)
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.close_in_children()?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            // Kernels before 4.12 and 4.3 have neither; errors are then told without their place.
            let _ = self.set(libc::SOL_NETLINK, option, 1);
        }
        self.force(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
        self.room(RECEIVED)?;
        let patience = timeval {
            tv_sec: PATIENCE,
            tv_usec: 0,
        };
        self.set_any(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &patience)
    }

    /// One to netfilter that another process made in the network namespace of this thread, and handed over.
    pub(crate) fn handed_over(descriptor: &OwnedFd) -> io::Result<Self> {
        let mut socket = Self::open()?;
        let made = descriptor.as_raw_fd();
        let alike = |option| -> io::Result<bool> {
            Ok(get::<c_int>(made, option)? == get::<c_int>(socket.mnl.as_raw_fd(), option)?)
        };
        if !alike(libc::SO_DOMAIN)? || !alike(libc::SO_PROTOCOL)? {
            return Err(io::Error::other("it is no netlink socket to netfilter"));
        }
        let namespace: u64 = get(made, libc::SO_NETNS_COOKIE)?;
        if namespace != get::<u64>(socket.mnl.as_raw_fd(), libc::SO_NETNS_COOKIE)? {
            return Err(io::Error::other("it is of another network namespace"));
        }
        // One that was never bound owns nothing, and what it writes is told as others' changes.
        if port(made)? == 0 {
            return Err(io::Error::other("it was never bound"));
        }
        // SAFETY: both are open descriptors; libmnl goes on with the number that it has, and closes it.
        match unsafe { libc::dup3(made, socket.mnl.as_raw_fd(), libc::O_CLOEXEC) } {
            -1 => return Err(io::Error::last_os_error()),
            _ => socket.port = port(made)?,
        }
        socket.sendable = 0;
        socket.prepare()?;
        socket.drain()?;
        Ok(socket)
    }

    /// A child process that kept it would keep tables owned by a daemon that is gone.
    fn close_in_children(&self) -> io::Result<()> {
        // SAFETY: the descriptor is open, and the flag is all that is set.
        match unsafe { libc::fcntl(self.mnl.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Port that the kernel puts into what it says about our messages.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// `count` sequence numbers of our own; the first of them.
    pub(crate) fn sequences(&mut self, count: usize) -> u32 {
        let first = self.sequence;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.sequence = first.wrapping_add(count);
        first
    }

    /// Sends everything as one datagram: a batch that is split in two is two batches.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.room(bytes.len())?;
        match self.mnl.send(bytes)? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(io::Error::other("the kernel took a part of a datagram")),
        }
    }

    /// The next datagram. Absent: there is none, and `wait` is `false`.
    pub(crate) fn receive(&mut self, wait: Wait) -> io::Result<Option<&[u8]>> {
        let flags = match wait {
            Wait::Until => libc::MSG_TRUNC,
            Wait::Never => libc::MSG_TRUNC | libc::MSG_DONTWAIT,
        };
        let room = self.received.len() * 4;
        let buffer = self.received.as_mut_ptr().cast::<c_void>();
        let length = loop {
            // SAFETY: the buffer is valid for `room` bytes, and any bytes make a u32.
            let length = unsafe { libc::recv(self.mnl.as_raw_fd(), buffer, room, flags) };
            match usize::try_from(length) {
                Ok(length) => break length,
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ if wait == Wait::Until => return Err(io::ErrorKind::TimedOut.into()),
                    _ => return Ok(None),
                },
            }
        };
        if length > room {
            return Err(io::Error::other("a datagram of the kernel is too long"));
        }
        // SAFETY: `length` was checked against the buffer; any u32 is four initialised bytes.
        let datagram = unsafe { std::slice::from_raw_parts(self.received.as_ptr().cast(), length) };
        Ok(Some(datagram))
    }

    /// Throws away replies to earlier requests.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            match self.receive(Wait::Never) {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Joins a multicast group.
    pub(crate) fn join(&self, group: c_int) -> io::Result<()> {
        self.set(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)
    }

    /// Asks for a receive buffer of so many bytes.
    pub(crate) fn receive_buffer(&self, bytes: c_int) -> io::Result<()> {
        self.force(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes)
    }

    /// Makes a datagram of so many bytes sendable.
    fn room(&mut self, bytes: usize) -> io::Result<()> {
        if bytes <= self.sendable {
            return Ok(());
        }
        // The kernel doubles it, for its own bookkeeping.
        let size = c_int::try_from(bytes).map_err(io::Error::other)?;
        self.force(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, size)?;
        self.sendable = bytes;
        Ok(())
    }

    /// A buffer size beyond the limit if we may, within it otherwise.
    fn force(&self, beyond: c_int, within: c_int, size: c_int) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, beyond, size)
            .or_else(|_| self.set(libc::SOL_SOCKET, within, size))
    }

    fn set(&self, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
        self.set_any(level, option, &value)
    }

    /// `T` is what the option takes.
    fn set_any<T: Copy>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
        let value = std::ptr::from_ref(value).cast::<c_void>();
        // SAFETY: `value` points to `length` bytes, which the kernel only reads.
        match unsafe { libc::setsockopt(self.mnl.as_raw_fd(), level, option, value, length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// An option of a socket; `T` is what it gives.
fn get<T: Copy + Default>(descriptor: c_int, option: c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let into = std::ptr::from_mut(&mut value).cast::<c_void>();
    // SAFETY: the kernel writes at most `length` bytes, which are those of `value`; any bytes make an integer.
    match unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, option, into, &raw mut length) } {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The port that a netlink socket is bound to.
fn port(descriptor: c_int) -> io::Result<u32> {
    // SAFETY: an address of zeros is a valid one.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    let into = std::ptr::from_mut(&mut address).cast::<libc::sockaddr>();
    // SAFETY: the kernel writes at most `length` bytes, which are those of `address`.
    match unsafe { libc::getsockname(descriptor, into, &raw mut length) } {
        0 => Ok(address.nl_pid),
        _ => Err(io::Error::last_os_error()),
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: libmnl closes the descriptor when `mnl` is dropped, and the borrow ends before that.
        unsafe { BorrowedFd::borrow_raw(self.mnl.as_raw_fd()) }
    }
}

/// Whether to wait for a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Until there is one. Only for what the kernel is sure to answer.
    Until,
    /// Take it if it is there.
    Never,
}
