use super::*;
use proptest::prelude::*;

const SEQUENCE: u32 = 7;
const ANSWER: u16 = 16;
const DUMP: Dump = Dump {
    what: "links",
    answer: ANSWER,
    sequence: SEQUENCE,
};

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// The messages of a whole dump of links that are numbers, its end included.
fn whole(links: u32) -> Vec<Vec<u8>> {
    let mut messages: Vec<_> = (0..links)
        .map(|link| message(ANSWER, 2, SEQUENCE, &link.to_ne_bytes()))
        .collect();
    messages.push(message(control::DONE, 2, SEQUENCE, &0_i32.to_ne_bytes()));
    messages
}

/// Reads datagrams until the dump ends. Absent: they ended first, as when a connection does.
fn read(datagrams: &[Vec<u8>]) -> Option<Result<Vec<u32>, Ended>> {
    let mut links = Vec::new();
    let mut each = |payload: &[u8]| {
        links.push(u32::from_ne_bytes(payload.try_into().ok()?));
        Some(())
    };
    let end = datagrams
        .iter()
        .find_map(|datagram| DUMP.take(datagram, &mut each))?;
    Some(end.map(|()| links))
}

fn packed(messages: &[Vec<u8>], per_datagram: usize) -> Vec<Vec<u8>> {
    messages.chunks(per_datagram).map(<[_]>::concat).collect()
}

/// What may befall a dump at one of its messages.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Nothing more comes.
    Ends,
    /// The message is cut within.
    Cut,
    /// Its payload is none.
    Garbled,
    /// The kernel says that it was interrupted.
    Interrupted,
    /// It is of another kind.
    Strange,
    /// The dump ends with an error.
    Fails(i32),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Ends),
        Just(Damage::Cut),
        Just(Damage::Garbled),
        Just(Damage::Interrupted),
        Just(Damage::Strange),
        (1..134_i32).prop_map(Damage::Fails),
    ]
}

fn harm(messages: &mut Vec<Vec<u8>>, at: usize, damage: Damage) {
    let number = 3_u32.to_ne_bytes();
    match damage {
        Damage::Ends => messages.truncate(at),
        Damage::Cut => {
            messages.truncate(at + 1);
            messages[at].truncate(18);
        }
        Damage::Garbled => messages[at] = message(ANSWER, 2, SEQUENCE, &[1]),
        Damage::Interrupted => messages[at][6] |= 0x10,
        Damage::Strange => messages[at] = message(24, 2, SEQUENCE, &number),
        Damage::Fails(errno) => {
            messages[at] = message(control::DONE, 2, SEQUENCE, &(-errno).to_ne_bytes());
        }
    }
}

proptest! {
    #[test]
    fn a_dump_is_whole_or_shows_nothing(
        links in 0..40_u32,
        per_datagram in 1..9_usize,
        at in any::<prop::sample::Index>(),
        damage in damage(),
    ) {
        let mut messages = whole(links);
        let all: Vec<u32> = (0..links).collect();
        let read_whole = read(&packed(&messages, per_datagram)).and_then(Result::ok);
        prop_assert_eq!(read_whole, Some(all));
        let at = at.index(messages.len());
        harm(&mut messages, at, damage);
        prop_assert!(!matches!(read(&packed(&messages, per_datagram)), Some(Ok(_))));
    }

    #[test]
    fn any_datagram_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = DUMP.take(&bytes, &mut |_| Some(()));
    }
}

#[test]
fn what_answers_an_earlier_request_neither_counts_nor_ends_the_dump() {
    let mut messages = vec![
        message(ANSWER, 0x10, SEQUENCE - 1, &9_u32.to_ne_bytes()),
        message(control::DONE, 2, SEQUENCE - 1, &0_i32.to_ne_bytes()),
    ];
    messages.extend(whole(2));
    let links = read(&packed(&messages, 2)).and_then(Result::ok);
    assert_eq!(links, Some(vec![0, 1]));
}
