//! Forgetting connections, through ctnetlink: what `conntrack -D` does, without the tool.
//!
//! Connections named by their source port are kept, so that open connections of a scenario outlive a sweep.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rustix::net::netlink::NETFILTER;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::Namespace;

// linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
const SUBSYSTEM_CONNTRACK: u16 = 1;
const GET: u16 = (SUBSYSTEM_CONNTRACK << 8) | 1;
const DELETE: u16 = (SUBSYSTEM_CONNTRACK << 8) | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_SOURCE_PORT: u16 = 2;
// linux/netlink.h.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
const NFGENMSG: usize = 4;
const KIND_MASK: u16 = 0x3fff;

/// Removes every tracked connection of the namespace but those with a source port in `keep`.
///
/// # Errors
///
/// Where the kernel has no ctnetlink.
pub fn forget_except(namespace: &Namespace, keep: &BTreeSet<u16>) -> Result<()> {
    namespace.run(|| {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(NETFILTER),
        )
        .context("open a ctnetlink socket")?;
        for (family, tuple) in dump(&socket)? {
            if !source_port(&tuple).is_some_and(|port| keep.contains(&port)) {
                let mut attribute = header(4 + tuple.len(), TUPLE_ORIGINAL | 0x8000);
                attribute.extend_from_slice(&tuple);
                exchange(
                    &socket,
                    DELETE,
                    REQUEST | ACK,
                    family,
                    &attribute,
                    |_, _| {},
                )?;
            }
        }
        Ok(())
    })
}

fn dump(socket: &rustix::fd::OwnedFd) -> Result<Vec<(u8, Vec<u8>)>> {
    let mut found = Vec::new();
    exchange(socket, GET, REQUEST | DUMP, 0, &[], |family, body| {
        found.extend(attribute(body, TUPLE_ORIGINAL).map(|tuple| (family, tuple.to_vec())));
    })?;
    Ok(found)
}

/// Sends one request and hands every answer's family and attributes to `each`, until the kernel says it is done.
fn exchange(
    socket: &rustix::fd::OwnedFd,
    kind: u16,
    flags: u16,
    family: u8,
    attributes: &[u8],
    mut each: impl FnMut(u8, &[u8]),
) -> Result<()> {
    let length = u32::try_from(HEADER + NFGENMSG + attributes.len()).context("request length")?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, 0, 0, 0]);
    request.extend_from_slice(attributes);
    rustix::net::send(socket, &request, SendFlags::empty()).context("ask ctnetlink")?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (_, length) = rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())
            .context("hear from ctnetlink")?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((size, kind)) = message(rest) {
            match kind {
                // An error message with code zero is the acknowledgement; that the entry is gone already is as good.
                ERROR | DONE => return Ok(()),
                _ => {
                    if let Some(body) = rest.get(HEADER..size) {
                        each(
                            body.first().copied().unwrap_or(0),
                            body.get(NFGENMSG..).unwrap_or_default(),
                        );
                    }
                }
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn message(bytes: &[u8]) -> Option<(usize, u16)> {
    let size = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    (size >= HEADER).then_some((size, kind))
}

fn header(length: usize, kind: u16) -> Vec<u8> {
    let length = u16::try_from(length).expect("a tuple is under a hundred bytes");
    [length.to_ne_bytes(), kind.to_ne_bytes()].concat()
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & KIND_MASK;
        if kind == wanted {
            return bytes.get(4..length);
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn source_port(tuple: &[u8]) -> Option<u16> {
    let port = attribute(attribute(tuple, TUPLE_PROTO)?, PROTO_SOURCE_PORT)?;
    Some(u16::from_be_bytes(port.try_into().ok()?))
}
