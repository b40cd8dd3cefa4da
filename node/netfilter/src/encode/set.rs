//! Definitions of sets and maps, and their elements, as libnftnl objects.

use super::{Key, keys, table_name};
use crate::{
    error::Unfit,
    kernel,
    native::{Buffer, NativeElement, NativeSet},
    program::{code, name},
};
use nftnl_sys as sys;
use palisade_ruleset::ir::{Element, SetName, Shape, TableName, Verdict};
use std::{ffi::CStr, iter::Peekable};

/// How the kernel and nft see a shape.
struct Form {
    /// nft's numbers of the fields' types, six bits each.
    kind: u32,
    /// In bytes.
    length: u32,
    /// nft's byte order of the key: 1 the machine's, 2 the network's.
    order: u32,
}

/// nft's numbers of types.
mod datatype {
    pub(super) const NFPROTO: u32 = 2;
    pub(super) const IPV4: u32 = 7;
    pub(super) const IPV6: u32 = 8;
    pub(super) const PROTOCOL: u32 = 12;
    pub(super) const SERVICE: u32 = 13;
    pub(super) const MARK: u32 = crate::kernel::set::DATA_MARK;
    pub(super) const IFNAME: u32 = 41;
}

/// All shapes.
const SHAPES: [Shape; 18] = [
    Shape::Interface,
    Shape::Address4,
    Shape::Address6,
    Shape::Family,
    Shape::Protocol,
    Shape::Port,
    Shape::ProtocolPort,
    Shape::Address4ProtocolPort,
    Shape::Address6ProtocolPort,
    Shape::InterfaceAddress4,
    Shape::InterfaceAddress6,
    Shape::Flow4,
    Shape::Flow6,
    Shape::Socket4,
    Shape::Socket6,
    Shape::Mark,
    Shape::MarkToMark,
    Shape::Position,
];

/// The form of a shape; no two are alike, but for what they lead to.
const fn form(shape: Shape) -> Form {
    use datatype::{IFNAME, IPV4, IPV6, MARK, NFPROTO, PROTOCOL, SERVICE};
    const fn of(kind: u32, length: u32, order: u32) -> Form {
        Form {
            kind,
            length,
            order,
        }
    }
    match shape {
        Shape::Interface => of(IFNAME, 16, 1),
        Shape::Address4 => of(IPV4, 4, 2),
        Shape::Address6 => of(IPV6, 16, 2),
        Shape::Family => of(NFPROTO, 1, 1),
        Shape::Protocol => of(PROTOCOL, 1, 2),
        Shape::Port => of(SERVICE, 2, 2),
        Shape::ProtocolPort => of(PROTOCOL << 6 | SERVICE, 8, 2),
        Shape::Address4ProtocolPort => of(IPV4 << 12 | PROTOCOL << 6 | SERVICE, 12, 2),
        Shape::Address6ProtocolPort => of(IPV6 << 12 | PROTOCOL << 6 | SERVICE, 24, 2),
        Shape::InterfaceAddress4 => of(IFNAME << 6 | IPV4, 20, 2),
        Shape::InterfaceAddress6 => of(IFNAME << 6 | IPV6, 32, 2),
        Shape::Flow4 => of(IPV4 << 18 | IPV4 << 12 | PROTOCOL << 6 | SERVICE, 16, 2),
        Shape::Flow6 => of(IPV6 << 18 | IPV6 << 12 | PROTOCOL << 6 | SERVICE, 40, 2),
        Shape::Socket4 => of(
            IPV4 << 24 | IPV4 << 18 | PROTOCOL << 12 | SERVICE << 6 | SERVICE,
            20,
            2,
        ),
        Shape::Socket6 => of(
            IPV6 << 24 | IPV6 << 18 | PROTOCOL << 12 | SERVICE << 6 | SERVICE,
            44,
            2,
        ),
        Shape::Mark | Shape::MarkToMark => of(MARK, 4, 1),
        Shape::Position => of(IPV6 << 18 | IPV6 << 12 | IPV6 << 6 | IPV6, 64, 2),
    }
}

/// The shape with this form.
pub(crate) fn shape_of(kind: u32, length: u32, leads_to_mark: bool) -> Option<Shape> {
    SHAPES.into_iter().find(|shape| {
        let form = form(*shape);
        form.kind == kind && form.length == length && shape.leads_to_mark() == leads_to_mark
    })
}

/// A new set or map, empty.
pub(crate) fn definition(
    table: TableName,
    name: &CStr,
    shape: Shape,
    interval: bool,
    map: bool,
    id: u32,
) -> NativeSet {
    let form = form(shape);
    let mut flags = 0;
    if interval {
        flags |= kernel::set::INTERVAL;
    }
    if map || shape.leads_to_mark() {
        flags |= kernel::set::MAP;
    }
    if shape.is_volatile() {
        flags |= kernel::set::TIMEOUT;
    }
    let set = NativeSet::new(table_name(table), name)
        .number(sys::NFTNL_SET_FLAGS, flags)
        .number(sys::NFTNL_SET_KEY_TYPE, form.kind)
        .number(sys::NFTNL_SET_KEY_LEN, form.length)
        .number(sys::NFTNL_SET_ID, id)
        .userdata(&remembered(&form, shape.leads_to_mark()));
    let (kind, length) = if map {
        (kernel::set::DATA_VERDICT, 0)
    } else if shape.leads_to_mark() {
        (kernel::set::DATA_MARK, 4)
    } else {
        return set;
    };
    set.number(sys::NFTNL_SET_DATA_TYPE, kind)
        .number(sys::NFTNL_SET_DATA_LEN, length)
}

/// What `nft list` wants to find with a set: a record of the key's byte order, and where it leads to marks of theirs.
fn remembered(form: &Form, leads_to_mark: bool) -> Vec<u8> {
    let record = |kind, order: u32| {
        let [a, b, c, d] = order.to_ne_bytes();
        [kind, 4, a, b, c, d]
    };
    let mut records = record(0, form.order).to_vec();
    if leads_to_mark {
        records.extend(record(1, 1));
    }
    records
}

/// A question for one element, alone in the buffer: the start of a range, or its end.
pub(crate) fn element_request(
    buffer: &mut Buffer,
    table: TableName,
    set: &SetName,
    key: &Key,
    end: bool,
    sequence: u32,
) -> Result<(), Unfit> {
    let mut native = NativeSet::new(table_name(table), &name(set.as_str())?);
    let element = NativeElement::new(key.bytes());
    native.push(if end { element.end() } else { element });
    buffer.clear();
    let kind = kernel::SUBSYSTEM_SHIFTED | kernel::kind::GET_ELEMENT;
    native.write_elements(buffer, kind, 0, sequence);
    Ok(())
}

/// Elements until one message is full, and how many were taken. Takes at least one.
pub(crate) fn set_elements<'e>(
    table: TableName,
    set: &CStr,
    shape: Shape,
    interval: bool,
    elements: &mut Peekable<impl Iterator<Item = (&'e Element, Option<&'e Verdict>)>>,
) -> Result<(NativeSet, usize), Unfit> {
    /// The kernel's limit of an attribute is 64 KiB; one element is well below the difference.
    const FULL: usize = 48 * 1024;
    let mut native = NativeSet::new(table_name(table), set);
    let (mut taken, mut length) = (0, 0);
    while length < FULL {
        let Some((element, verdict)) = elements.next() else {
            break;
        };
        let (first, behind) = keys(shape, interval, element)?;
        let mut start = NativeElement::new(first.bytes());
        length += 48 + first.bytes().len();
        if let Some(verdict) = verdict {
            let code = code(verdict)?;
            start = start.verdict(&code);
            length += 32 + code.chain.as_ref().map_or(0, |chain| chain.count_bytes());
        }
        native.push(start);
        if let Some(behind) = behind {
            native.push(NativeElement::new(behind.bytes()).end());
            length += 48 + behind.bytes().len();
        }
        taken += 1;
    }
    Ok((native, taken))
}
