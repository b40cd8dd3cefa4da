//! A plugin that keeps failing is set aside, tried again, and comes back by itself.

use std::time::{Duration, Instant};

use palisade_plugin_host::{Condition, Configured, Fault, FaultKind, Options};

use crate::guests::{packet, plugin};

fn trap_on_request() -> Configured {
    plugin("misbehave").with_settings(r#"{"deed": "trap-on-request"}"#, Options::default())
}

#[test]
fn a_plugin_that_keeps_failing_is_set_aside_for_all_its_workers_and_comes_back() {
    let configured = trap_on_request();
    let other = trap_on_request();
    let [mut one, mut two] = [(); 2].map(|()| configured.matcher().expect("a matcher"));
    let now = Instant::now();
    for _ in 0..5 {
        let fault = one.evaluate(&packet(b"trap"), now).expect_err("a fault");
        assert_eq!(fault.kind(), FaultKind::Trap);
    }
    for worker in [&mut one, &mut two] {
        let fault = worker.evaluate(&packet(b"fine"), now).expect_err("a fault");
        assert!(matches!(fault, Fault::SetAside { .. }), "{fault}");
    }
    assert!(matches!(
        configured.status().condition,
        Condition::SetAside { .. }
    ));
    let mut unrelated = other.matcher().expect("a matcher");
    assert!(
        unrelated.evaluate(&packet(b"fine"), now).is_ok(),
        "other settings"
    );

    let later = now + Duration::from_secs(1);
    assert!(two.evaluate(&packet(b"fine"), later).is_ok(), "the try");
    assert!(one.evaluate(&packet(b"fine"), later).is_ok(), "back");
    assert_eq!(configured.status().condition, Condition::Well);
}

#[test]
fn a_try_that_fails_waits_longer() {
    let configured = trap_on_request();
    let mut worker = configured.matcher().expect("a matcher");
    let now = Instant::now();
    for _ in 0..5 {
        let _ = worker.evaluate(&packet(b"trap"), now);
    }
    let later = now + Duration::from_secs(1);
    let _ = worker.evaluate(&packet(b"trap"), later);
    let fault = worker
        .evaluate(&packet(b"fine"), later)
        .expect_err("a fault");
    assert_eq!(
        fault,
        Fault::SetAside {
            remaining: Duration::from_secs(2)
        }
    );
    let status = configured.status();
    assert_eq!(
        status.faults,
        [(FaultKind::Trap, 6), (FaultKind::SetAside, 1)]
    );
}
