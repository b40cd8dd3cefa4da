//! Descriptors that the service manager passes to this process at its start (`sd_listen_fds(3)`).
//!
//! Here, because a number that another program names becomes an open file only with `unsafe`.

use std::{
    env, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    process,
    sync::atomic::{AtomicBool, Ordering},
};

/// The first of them.
const FIRST: RawFd = 3;

/// Takes the descriptors that were passed under this name; once. All that were passed are closed in children.
///
/// # Errors
/// What the service manager says of them makes no sense, or they are not open.
pub fn passed(name: &str) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let for_us = env::var("LISTEN_PID").is_ok_and(|pid| pid == process::id().to_string());
    if !for_us || TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let senseless = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let count = env::var("LISTEN_FDS").unwrap_or_default();
    let count: RawFd = count.parse().map_err(|_| senseless("LISTEN_FDS"))?;
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut ours = Vec::new();
    for descriptor in FIRST..FIRST.saturating_add(count) {
        // SAFETY: only a flag of a descriptor is set, and the kernel says if it is not open.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if names.next() == Some(name) {
            // SAFETY: it is open, came with the start of this process, so that nothing here owns it, and is taken once.
            ours.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }
    Ok(ours)
}
