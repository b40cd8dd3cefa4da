use super::*;
use crate::{
    enforce::Positions,
    enforce::transaction::Outcome,
    link::session::{Effect, Event, GOOD_AFTER, SCHEMA, UNCONTESTED_AFTER},
};
use palisade_policy::view::{Digest, Epoch, Position};
use palisade_proto::v1::{self, stream_view_response as down};
use rand::{SeedableRng, rngs::StdRng};

fn at(revision: u64) -> Position {
    Position {
        epoch: Epoch([1; 16]),
        revision,
        digest: Digest([7; 32]),
    }
}

fn say(session: &mut Session, message: down::Message, now: Duration) -> Vec<Effect> {
    let message = Some(message);
    session.on_event(Event::Message(v1::StreamViewResponse { message }), now)
}

/// A session that was welcome at once.
fn welcome() -> Session {
    let positions = Positions {
        have: Some(at(9)),
        enforced: Some(at(9)),
    };
    let (mut session, _) = Session::begin(positions, Greeting::default(), Duration::ZERO);
    let welcome = v1::Welcome {
        schema: SCHEMA,
        ..v1::Welcome::default()
    };
    say(
        &mut session,
        down::Message::Welcome(welcome),
        Duration::ZERO,
    );
    session
}

/// A control plane that answers, and then closes.
fn closes(lasted: Duration) -> Failed {
    Failed {
        life: welcome().life(lasted),
        ended: Ended::Closed,
    }
}

/// A control plane that was set back.
fn goes_back() -> Failed {
    let mut session = welcome();
    let begin = v1::Begin {
        to: Some((&at(8)).into()),
        ..v1::Begin::default()
    };
    let effects = say(&mut session, down::Message::Begin(begin), Duration::ZERO);
    let [Effect::Close(closed)] = &effects[..] else {
        panic!("{effects:?}");
    };
    Failed {
        ended: closed.clone().into(),
        life: session.life(Duration::ZERO),
    }
}

/// A control plane that has one view enforced, and then closes.
fn is_acknowledged() -> Failed {
    let mut session = welcome();
    let begin = v1::Begin {
        kind: v1::TransactionKind::Snapshot.into(),
        to: Some((&at(10)).into()),
        ..v1::Begin::default()
    };
    say(&mut session, down::Message::Begin(begin), Duration::ZERO);
    let commit = v1::Commit {
        to: Some((&at(10)).into()),
    };
    let effects = say(&mut session, down::Message::Commit(commit), Duration::ZERO);
    assert!(matches!(effects[..], [Effect::Apply(_)]));
    let outcome = Outcome::Applied { micros: 1 };
    let enforced = Some(at(10));
    session.on_event(Event::Decided { outcome, enforced }, Duration::ZERO);
    Failed {
        ended: Ended::Closed,
        life: session.life(Duration::ZERO),
    }
}

fn taken_over() -> Ended {
    let status = tonic::Status::already_exists("another daemon from 10.0.0.2:9 took over");
    Ended::Status(Box::new(status))
}

/// Attempts within so much time.
fn attempts(within: Duration, attempt: impl Fn() -> Failed) -> u32 {
    let mut rng = StdRng::seed_from_u64(7);
    let mut patience = Patience::new();
    let (mut count, mut elapsed) = (0, Duration::ZERO);
    while elapsed < within {
        let Failed { ended, life } = attempt();
        elapsed += patience.after(&ended, life, &mut rng);
        count += 1;
    }
    count
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_control_plane_that_fails_after_its_welcome_is_left_in_peace() {
    for failing in [|| closes(Duration::ZERO), goes_back] {
        let count = attempts(MINUTE, failing);
        assert!((4..=30).contains(&count), "{count} attempts in a minute");
        let count = attempts(10 * MINUTE, failing);
        assert!(count <= 100, "{count} attempts in ten minutes");
    }
}

#[test]
fn a_stream_that_was_good_for_something_is_opened_again_at_once() {
    for good in [|| closes(GOOD_AFTER), is_acknowledged] {
        let count = attempts(Duration::from_secs(1), good);
        assert!(count >= 20, "{count} attempts in a second");
    }
    let brief = || closes(GOOD_AFTER - Duration::from_secs(1));
    assert!(attempts(Duration::from_secs(1), brief) <= 4);
}

#[test]
fn whoever_is_taken_over_from_waits_longer_each_time() {
    // Good enough to be opened again at once, were it alone.
    let attempt = || Failed {
        ended: taken_over(),
        life: Life::Good,
    };
    assert_eq!(attempts(Duration::from_secs(30), attempt), 1);
    let count = attempts(60 * MINUTE, attempt);
    assert!((12..=60).contains(&count), "{count} attempts in an hour");
}

#[test]
fn an_uncontested_stream_forgets_that_others_took_over() {
    let mut rng = rand::rng();
    let mut patience = Patience::new();
    let long = std::iter::repeat_with(|| patience.after(&taken_over(), Life::Good, &mut rng));
    assert!(long.take(1000).any(|wait| wait > Duration::from_secs(90)));
    let life = welcome().life(UNCONTESTED_AFTER);
    assert_eq!(life, Life::Uncontested);
    let wait = patience.after(&taken_over(), life, &mut rng);
    assert!(wait <= Duration::from_secs(90));
    assert!(patience.after(&Ended::Closed, life, &mut rng) <= Duration::from_millis(50));
}
