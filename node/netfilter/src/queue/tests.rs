//! Without a kernel: messages that make no sense, numbers with gaps, verdicts in as few messages as may be.

use super::{Book, Listed, attribute, listed, packet, verdict};
use crate::{
    message::{HEADER, Messages, word},
    nfnetlink::Outgoing,
    queue::Verdict,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn kinds(waiting: &mut BTreeSet<u32>, verdicts: &[(u32, Verdict)]) -> Vec<(u16, usize)> {
    let mut outgoing = Outgoing::default();
    verdict::write(&mut outgoing, 7, waiting, verdicts);
    let length = |bytes: &[u8]| usize::try_from(word(bytes).expect("a length")).expect("small");
    let mut bytes = outgoing.bytes();
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let kind = Messages(bytes).next().expect("a message").kind & 0xff;
        kinds.push((kind, length(bytes)));
        bytes = &bytes[length(bytes)..];
    }
    kinds
}

#[test]
fn the_oldest_that_are_decided_alike_are_one_message() {
    let mut waiting = BTreeSet::from([3, 4, 5, 9]);
    let alike = |id| (id, Verdict::Repeat { mark: 1 });
    let batch = (3, HEADER + 4 + 12 + 8);
    assert_eq!(
        kinds(&mut waiting, &[alike(5), alike(3), alike(4)]),
        [batch]
    );
    assert_eq!(waiting, BTreeSet::from([9]));
}

#[test]
fn what_waits_without_verdict_is_not_decided_with_others() {
    let mut waiting = BTreeSet::from([3, 4, 5]);
    let single = (1, HEADER + 4 + 12);
    let drop = |id| (id, Verdict::Drop);
    assert_eq!(kinds(&mut waiting, &[drop(4), drop(5)]), [single, single]);
    assert_eq!(waiting, BTreeSet::from([3]));
    assert_eq!(kinds(&mut waiting, &[drop(4)]), []);
}

#[test]
fn other_verdicts_and_other_marks_are_messages_of_their_own() {
    let mut waiting = BTreeSet::from([1, 2, 3]);
    let mark = |id, mark| (id, Verdict::Repeat { mark });
    let single = (1, HEADER + 4 + 12 + 8);
    let all = [mark(1, 1), mark(2, 2), mark(3, 2)];
    assert_eq!(kinds(&mut waiting, &all), [single; 3]);
}

#[test]
fn gaps_in_numbers_are_losses() {
    let mut book = Book::default();
    for id in [1, 2, 5, 6, 4, 9] {
        book.note(id);
    }
    assert_eq!(book.losses.socket, 4);
}

/// A datagram with one packet.
fn datagram(id: u32) -> Vec<u8> {
    let mut header = id.to_be_bytes().to_vec();
    header.extend([0x08, 0x00, 1, 0]);
    let mut outgoing = Outgoing::default();
    outgoing.begin(super::PACKET, 0, 0, 7);
    let kind = u16::try_from(attribute::HEADER).expect("small");
    outgoing.attribute(kind, &header);
    outgoing.bytes().to_vec()
}

#[test]
fn what_came_while_the_queue_was_set_up_comes_in_order_and_is_no_loss() {
    let mut book = Book {
        early: (1..=3).map(datagram).collect(),
        ..Book::default()
    };
    let mut ids = Vec::new();
    while book.take_early(&mut |packet| ids.push(packet.id)).is_some() {}
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(book.losses.total(), 0);
}

#[test]
fn the_kernels_table_is_read_by_number() {
    let table = "    1  12     0 2   256     0     0        9  1\n 7601  13     2 2   256    17     4        9  1\n";
    let expected = Listed {
        waiting: 2,
        full: 17,
    };
    assert_eq!(listed(table, 7601), Some(expected));
    assert_eq!(listed(table, 2), None);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut message = vec![0; HEADER];
        let length = u32::try_from(HEADER + bytes.len()).expect("small");
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[4..6].copy_from_slice(&super::PACKET.to_ne_bytes());
        message.extend(&bytes);
        for message in Messages(&message) {
            let _ = packet(&message);
        }
        Book::default().take(&message, &mut |_| {});
        Book::default().take(&bytes, &mut |_| {});
    }
}
