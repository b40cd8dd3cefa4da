//! Many datagrams in one system call, and how many of them arrive.

use std::io::IoSlice;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::net::{
    MMsgHdr, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny, addr::SocketAddrArg,
};

/// Sends one datagram to each address; the time that the system call took.
pub(crate) fn send(from: &UdpSocket, to: &[SocketAddrV4], payload: &[u8]) -> Result<Duration> {
    let addresses: Vec<SocketAddrAny> = to.iter().map(|to| SocketAddr::V4(*to).as_any()).collect();
    let payload = [IoSlice::new(payload)];
    let mut nothing: Vec<SendAncillaryBuffer<'_, '_, '_>> =
        to.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<MMsgHdr<'_>> = addresses
        .iter()
        .zip(&mut nothing)
        .map(|(address, control)| MMsgHdr::new_with_addr(address, &payload, control))
        .collect();
    let began = Instant::now();
    let sent = rustix::net::sendmmsg(from, &mut messages, SendFlags::empty());
    let time = began.elapsed();
    let sent = sent.context("send a burst")?;
    ensure!(sent == to.len(), "{sent} of {} packets sent", to.len());
    Ok(time)
}

/// Takes what is there.
pub(crate) fn drain(at: &UdpSocket) -> Result<usize> {
    let mut buffer = [0; 64];
    let mut arrived = 0;
    loop {
        match rustix::net::recv(at, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok(_) => arrived += 1,
            Err(Errno::AGAIN) => return Ok(arrived),
            Err(error) => return Err(error).context("receive"),
        }
    }
}
