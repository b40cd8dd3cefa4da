//! Packets by the byte.

use proptest::prelude::*;

use super::*;

/// An IPv4 packet with `payload` behind a header of `words` words.
fn v4(words: u8, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = usize::from(words) * 4;
    let total = u16::try_from(header + payload.len()).expect("short");
    let mut packet = vec![0; header];
    packet[0] = 0x40 | words;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
    packet[16..20].copy_from_slice(&[198, 51, 100, 2]);
    packet.extend(payload);
    packet
}

/// An IPv6 packet; `payload` begins with the extension headers.
fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    let length = u16::try_from(payload.len()).expect("short");
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet[6] = next;
    packet[8..10].copy_from_slice(&[0x20, 0x01]);
    packet[24..26].copy_from_slice(&[0x20, 0x02]);
    packet.extend(payload);
    packet
}

fn udp(data: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0x9c, 0x40, 0, 53, 0, 0, 0, 0];
    datagram.extend(data);
    datagram
}

fn tcp(words: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = vec![0; usize::from(words) * 4];
    segment[..4].copy_from_slice(&[0x9c, 0x40, 1, 0xbb]);
    segment[12] = words << 4;
    segment.extend(data);
    segment
}

#[test]
fn udp_of_both_families_is_read() {
    for packet in [v4(5, 0, UDP, &udp(b"data")), v6(UDP, &udp(b"data"))] {
        let headers = parse(&packet).expect("a packet");
        assert_eq!(
            (headers.source_port, headers.destination_port),
            (40_000, 53)
        );
        assert_eq!((headers.payload, headers.payload_length), (&b"data"[..], 4));
    }
}

#[test]
fn options_of_both_headers_are_stepped_over() {
    let packet = v4(8, 0, TCP, &tcp(7, b"hello"));
    let headers = parse(&packet).expect("a packet");
    assert_eq!(
        (headers.destination_port, headers.payload),
        (443, &b"hello"[..])
    );
}

#[test]
fn icmp_has_type_and_code_and_no_ports() {
    let headers_of = |packet: &[u8]| {
        let headers = parse(packet).expect("a packet");
        (headers.icmp, headers.source_port)
    };
    let echo = [8, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(headers_of(&v4(5, 0, ICMP, &echo)), (Some((8, 0)), 0));
    assert_eq!(headers_of(&v6(ICMPV6, &echo)), (Some((8, 0)), 0));
}

#[test]
fn padding_after_the_packet_is_no_payload() {
    let mut packet = v4(5, 0, UDP, &udp(b""));
    packet.extend([0xff; 18]);
    assert_eq!(parse(&packet).expect("a packet").payload, b"");
}

#[test]
fn a_packet_that_is_partly_at_hand_tells_its_whole_length() {
    let packet = v4(5, 0, UDP, &udp(&[7; 1000]));
    let headers = parse(&packet[..128]).expect("its headers");
    assert_eq!((headers.payload.len(), headers.payload_length), (100, 1000));
}

#[test]
fn later_fragments_have_no_ports() {
    let headers = v4(5, 3, UDP, &udp(b"data"));
    let headers = parse(&headers).expect("a packet");
    assert!(headers.later_fragment);
    assert_eq!((headers.destination_port, headers.payload), (0, &b""[..]));
    let fragment = [&[UDP, 0, 0, 8, 0, 0, 0, 1], &udp(b"data")[..]].concat();
    assert!(parse(&v6(44, &fragment)).expect("a packet").later_fragment);
}

#[test]
fn first_fragments_have_ports() {
    // "More fragments", at offset 0.
    let packet = v4(5, 0x2000, UDP, &udp(b"data"));
    assert_eq!(parse(&packet).expect("a packet").destination_port, 53);
    let fragment = [&[UDP, 0, 0, 1, 0, 0, 0, 1], &udp(b"data")[..]].concat();
    let packet = v6(44, &fragment);
    assert_eq!(parse(&packet).expect("a packet").destination_port, 53);
}

#[test]
fn extension_headers_are_stepped_over() {
    let options = [
        60, 0, 1, 4, 0, 0, 0, 0, UDP, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let packet = v6(0, &[&options[..], &udp(b"data")].concat());
    let headers = parse(&packet).expect("a packet");
    assert_eq!((headers.protocol, headers.payload), (UDP, &b"data"[..]));
    let authentication = [&[UDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &udp(b"x")[..]].concat();
    assert_eq!(
        parse(&v6(51, &authentication))
            .expect("a packet")
            .destination_port,
        53
    );
}

#[test]
fn lengths_that_lie_are_refused() {
    let mut short_header = v4(5, 0, UDP, &udp(b""));
    short_header[0] = 0x44;
    let mut short_total = v4(5, 0, UDP, &udp(b""));
    short_total[3] = 19;
    let mut within_udp = v4(5, 0, UDP, &udp(b""));
    within_udp[3] = 25;
    let mut short_tcp = v4(5, 0, TCP, &tcp(5, b""));
    short_tcp[20 + 12] = 0x40;
    let long_extension = v6(0, &[UDP, 200, 0, 0, 0, 0, 0, 0]);
    for packet in [
        short_header,
        short_total,
        within_udp,
        short_tcp,
        long_extension,
    ] {
        assert_eq!(parse(&packet), Err(Malformed::Length), "{packet:02x?}");
    }
}

#[test]
fn chains_of_extension_headers_end() {
    let chain = [60, 0, 0, 0, 0, 0, 0, 0].repeat(20);
    assert_eq!(parse(&v6(60, &chain)), Err(Malformed::Extensions));
}

#[test]
fn other_versions_are_refused() {
    assert_eq!(parse(&[0x50; 60]), Err(Malformed::Version(5)));
    assert_eq!(parse(&[]), Err(Malformed::Short));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..3u8) {
        // Two thirds of them get past the version.
        if let Some(first) = bytes.first_mut() {
            match version {
                0 => *first = 0x40 | (*first & 0x0f),
                1 => *first = 0x60,
                _ => {}
            }
        }
        if let Ok(headers) = parse(&bytes) {
            prop_assert!(headers.payload.len() <= bytes.len());
        }
    }

    #[test]
    fn chains_of_real_extensions_never_panic(nexts in proptest::collection::vec(prop_oneof![Just(0u8), Just(43), Just(44), Just(51), Just(60), Just(17), any::<u8>()], 1..12), cut in 0..200usize) {
        let first = nexts[0];
        let mut payload = Vec::new();
        for next in nexts.iter().skip(1) {
            payload.extend([*next, 0, 0, 0, 0, 0, 0, 0]);
        }
        payload.extend(udp(b"data"));
        let packet = v6(first, &payload);
        let _ = parse(&packet[..packet.len().saturating_sub(cut)]);
    }

    #[test]
    fn less_at_hand_never_changes_what_is_read(data in proptest::collection::vec(any::<u8>(), 0..100), words in 5..16u8, keep in 0..300usize) {
        let packet = v4(5, 0, TCP, &tcp(words, &data));
        let whole = parse(&packet).expect("whole");
        match parse(&packet[..keep.min(packet.len())]) {
            Ok(part) => {
                prop_assert!(whole.payload.starts_with(part.payload));
                prop_assert_eq!(Headers { payload: &[], ..part }, Headers { payload: &[], ..whole });
            }
            Err(error) => prop_assert_eq!(error, Malformed::Short),
        }
    }
}
