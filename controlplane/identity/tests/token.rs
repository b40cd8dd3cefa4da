//! Join tokens: single use, bound, short-lived, and nothing of the secret kept.

use jiff::{SignedDuration, Timestamp};
use palisade_identity::{JoinToken, Name, Pin, TokenError, TokenRecord};
use proptest::prelude::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn pin() -> Pin {
    Pin::of_key(b"some key")
}

fn token(node: Option<&str>) -> (JoinToken, TokenRecord) {
    let node = node.map(name);
    JoinToken::new(pin(), node.as_ref(), HOUR, now()).expect("made")
}

#[test]
fn a_token_reads_back_and_is_spent_once() {
    let (token, record) = token(None);
    let read: JoinToken = token.expose().parse().expect("a token");
    assert_eq!(read, token);
    assert_eq!((read.id(), read.pin()), (record.id.as_str(), pin()));
    let spent = record.spend(&read, &name("web-1"), now()).expect("valid");
    assert_eq!(spent.used_by.as_deref(), Some("web-1"));
    for again in ["web-1", "web-2"] {
        let refused = spent.spend(&read, &name(again), now());
        let by = "web-1".to_owned();
        assert_eq!(refused, Err(TokenError::Used { by }));
    }
}

#[test]
fn a_token_ends_with_its_lifetime() {
    let (token, record) = token(None);
    let last = now() + HOUR - SignedDuration::from_secs(1);
    assert!(record.spend(&token, &name("a"), last).is_ok());
    for late in [now() + HOUR, now() + HOUR * 100] {
        let refused = record.spend(&token, &name("a"), late);
        assert_eq!(refused, Err(TokenError::Expired));
    }
}

#[test]
fn a_bound_token_is_for_its_node_only() {
    let (token, record) = token(Some("web-1"));
    assert!(record.spend(&token, &name("web-1"), now()).is_ok());
    for other in ["web-2", "web-10", "WEB-1"] {
        let refused = record.spend(&token, &name(other), now());
        assert!(matches!(refused, Err(TokenError::WrongNode { .. })));
    }
}

#[test]
fn another_tokens_secret_is_refused_and_tells_nothing_else() {
    let (_, mut record) = token(Some("web-1"));
    let (other, _) = token(None);
    record.used_by = Some("web-1".to_owned());
    let wrong = Err(TokenError::WrongSecret);
    let late = now() + HOUR * 2;
    assert_eq!(record.spend(&other, &name("web-2"), late), wrong);
    record.id = other.id().to_owned();
    assert_eq!(record.spend(&other, &name("web-2"), late), wrong);
    record.secret_hash.clear();
    assert_eq!(record.spend(&other, &name("web-2"), late), wrong);
}

#[test]
fn neither_the_record_nor_debug_shows_the_secret() {
    let (token, record) = token(Some("web-1"));
    let text = token.expose();
    let secret = text.split('.').nth(2).expect("four parts");
    let kept = serde_json::to_string(&record).expect("json");
    assert!(!kept.contains(secret) && !format!("{token:?}").contains(secret));
    let read: TokenRecord = serde_json::from_str(&kept).expect("reads back");
    assert_eq!(read, record);
    assert!(serde_json::from_str::<TokenRecord>(&kept.replacen('{', "{\"x\":1,", 1)).is_err());
}

#[test]
fn what_is_not_exactly_a_token_is_refused() {
    let text = token(None).0.expose();
    let parts: Vec<_> = text.split('.').collect();
    let with = |at: usize, part: &str| {
        let mut parts = parts.clone();
        parts[at] = part;
        parts.join(".")
    };
    for wrong in [
        String::new(),
        format!("{text}."),
        format!("{text} "),
        format!("{text}\n"),
        text.to_uppercase(),
        with(0, "pal2"),
        with(1, "0123"),
        with(1, "ABCDEF012345"),
        with(1, "../../../../"),
        with(2, ""),
        with(2, "AAAA"),
        with(3, "AAAA"),
        "x".repeat(10_000),
    ] {
        assert_eq!(
            wrong.parse::<JoinToken>(),
            Err(TokenError::Malformed),
            "{wrong}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_fail_otherwise(text in "\\PC*|pal1(\\.[A-Za-z0-9_-]{0,50}){0,5}") {
        if let Ok(token) = text.parse::<JoinToken>() {
            prop_assert_eq!(token.expose(), text);
        }
    }
}
