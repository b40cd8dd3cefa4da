//! What a plugin does wrong ends as a fault of that call. Each fault is followed by a call of the same worker, and by one
//! of another plugin, which must both be unaffected.

use std::sync::Arc;
use std::time::Instant;

use palisade_plugin_host::{
    Answer, Fault, FaultKind, Level, Matcher, Options, SettingsError, Surroundings,
};

use crate::guests::{Told, packet, plugin};

fn settings(deed: &str) -> String {
    format!(r#"{{"deed": "{deed}"}}"#)
}

fn misbehave(deed: &str) -> Matcher {
    let configured = plugin("misbehave").with_settings(&settings(deed), Options::default());
    configured.matcher().expect("it is a matcher")
}

fn call(matcher: &mut Matcher, payload: &[u8]) -> Result<Answer, Fault> {
    matcher.evaluate(&packet(payload), Instant::now())
}

const NO_MATCH: Result<Answer, Fault> = Ok(Answer::NoMatch { remember: None });
const MATCH: Result<Answer, Fault> = Ok(Answer::Match { remember: None });

/// The deed ends as this kind of fault, again and again, and nobody else notices.
#[track_caller]
fn faults(deed: &str, kind: FaultKind) -> Fault {
    let mut neighbour = misbehave("match-payload");
    let mut matcher = misbehave(deed);
    for _ in 0..2 {
        let result = call(&mut matcher, b"x");
        let fault = result.clone().expect_err("a fault");
        assert_eq!(fault.kind(), kind, "{deed}: {result:?}");
        assert_eq!(call(&mut neighbour, b"x"), MATCH, "the neighbour of {deed}");
    }
    call(&mut matcher, b"x").expect_err("a fault")
}

#[test]
fn a_panic_is_a_trap_with_its_message() {
    let fault = faults("trap", FaultKind::Trap);
    assert!(fault.to_string().contains("evaluate panics"), "{fault}");
}

#[test]
fn an_endless_loop_runs_out_of_fuel() {
    assert_eq!(
        faults("loop", FaultKind::OutOfFuel),
        Fault::OutOfFuel { fuel: 2_000_000 }
    );
}

#[test]
fn a_call_within_its_fuel_still_ends_at_its_deadline() {
    use palisade_plugin_host::Ceilings;
    let options = Options {
        ceilings: Ceilings {
            fuel: Some(u64::MAX / 2),
            memory: None,
        },
        ..Options::default()
    };
    let configured = plugin("misbehave").with_settings(&settings("loop"), options);
    let fault = call(&mut configured.matcher().expect("a matcher"), b"").expect_err("a fault");
    assert_eq!(fault.kind(), FaultKind::Deadline);
}

#[test]
fn memory_ends_at_its_limit() {
    faults("memory", FaultKind::OutOfMemory);
}

#[test]
fn wild_pointers_and_endless_recursion_are_traps() {
    faults("wild-read", FaultKind::Trap);
    faults("recursion", FaultKind::Trap);
}

#[test]
fn a_plugin_that_exits_is_a_trap() {
    let fault = faults("exit", FaultKind::Trap);
    assert!(fault.to_string().contains("ended itself"), "{fault}");
}

#[test]
fn a_plugin_that_sleeps_is_a_trap() {
    faults("sleep", FaultKind::Trap);
}

#[test]
fn faults_while_settings_are_read_are_faults_of_the_call() {
    faults("loop-in-configure", FaultKind::OutOfFuel);
    faults("trap-in-configure", FaultKind::Trap);
}

#[test]
fn a_fault_while_settings_are_validated_is_no_verdict_on_them() {
    for deed in ["loop-in-validate", "trap-in-configure"] {
        let result = plugin("misbehave").validate(&settings(deed));
        assert!(
            matches!(result, Err(SettingsError::Fault(_))),
            "{deed}: {result:?}"
        );
    }
}

#[test]
fn settings_refused_after_all_are_a_fault() {
    let configured = plugin("misbehave").with_settings("{}", Options::default());
    let fault = call(&mut configured.matcher().expect("a matcher"), b"").expect_err("a fault");
    assert_eq!(fault.kind(), FaultKind::Settings);
}

#[test]
fn an_answer_that_is_too_long_is_a_trap() {
    faults("long-reason", FaultKind::Trap);
}

#[test]
fn the_call_after_a_fault_has_a_fresh_instance() {
    let mut matcher = misbehave("trap-on-request");
    assert_eq!(call(&mut matcher, b"fine"), NO_MATCH);
    assert_eq!(
        call(&mut matcher, b"trap").expect_err("a fault").kind(),
        FaultKind::Trap
    );
    assert_eq!(call(&mut matcher, b"fine"), NO_MATCH);
    let status = matcher.configured().status();
    assert_eq!(
        (status.calls, status.faults),
        (3, vec![(FaultKind::Trap, 1)])
    );
    assert!(status.last_fault.is_some());
}

#[test]
fn an_instance_is_kept_from_call_to_call() {
    let mut matcher = misbehave("count-of-instance");
    let answers: Vec<_> = (0..4).map(|_| call(&mut matcher, b"")).collect();
    assert_eq!(answers, [NO_MATCH, NO_MATCH, MATCH, MATCH]);
}

#[test]
fn workers_share_state_and_nothing_else() {
    let share = |deed: &str| {
        let configured = plugin("misbehave").with_settings(&settings(deed), Options::default());
        let mut workers = [
            configured.matcher(),
            configured.matcher(),
            configured.matcher(),
        ];
        workers
            .iter_mut()
            .flatten()
            .map(|worker| call(worker, b""))
            .collect::<Vec<_>>()
    };
    assert_eq!(share("count-of-state"), [NO_MATCH, NO_MATCH, MATCH]);
    assert_eq!(share("count-of-instance"), [NO_MATCH, NO_MATCH, NO_MATCH]);
}

#[test]
fn state_is_bounded() {
    assert_eq!(call(&mut misbehave("state-flood"), b""), MATCH);
}

#[test]
fn what_is_too_large_for_state_is_answered_and_no_fault() {
    // Counts from 1 where every size is answered as the contract says; the first call makes it 2.
    assert_eq!(call(&mut misbehave("state-too-large"), b""), MATCH);
}

#[test]
fn more_than_a_call_may_hand_over_is_a_trap() {
    faults("state-far-too-large", FaultKind::Trap);
}

#[test]
fn an_answer_is_remembered_for_an_hour_at_most() {
    let answer = call(&mut misbehave("remember-for-ever"), b"");
    let Ok(Answer::Match {
        remember: Some(seconds),
    }) = answer
    else {
        panic!("a match that is remembered, not {answer:?}");
    };
    assert_eq!(seconds.get(), 3600);
}

#[test]
fn a_plugin_sees_no_environment_and_no_clock_but_the_packets() {
    assert_eq!(call(&mut misbehave("environment"), b""), NO_MATCH);
    assert_eq!(call(&mut misbehave("clock"), b""), MATCH);
}

#[test]
fn the_payload_is_cut_to_what_the_manifest_asks_for() {
    let mut matcher = misbehave("trap-on-request");
    assert_eq!(call(&mut matcher, &[b'x'; 60_000]), NO_MATCH);
    let fuel = matcher.fuel_used();
    assert_eq!(call(&mut matcher, &[b'x'; 64]), NO_MATCH);
    assert_eq!(matcher.fuel_used(), fuel);
}

#[test]
fn random_numbers_repeat_where_the_host_is_seeded() {
    use palisade_plugin_host::{Host, HostConfig};
    let answers = |seed| -> Vec<Result<Answer, Fault>> {
        let config = HostConfig {
            seed,
            ..HostConfig::default()
        };
        let host = Host::new(config).expect("WebAssembly runs here");
        let plugin = host
            .load(&crate::guests::verified("misbehave"))
            .expect("it fits");
        let configured = plugin.with_settings(&settings("random"), Options::default());
        let mut matcher = configured.matcher().expect("a matcher");
        (0..32).map(|_| call(&mut matcher, b"")).collect()
    };
    let seeded = answers(Some(7));
    assert_eq!(seeded, answers(Some(7)));
    assert!(
        seeded.contains(&MATCH) && seeded.contains(&NO_MATCH),
        "they are random"
    );
}

#[test]
fn need_payload_is_passed_on() {
    assert_eq!(
        call(&mut misbehave("need-payload"), b""),
        Ok(Answer::NeedPayload)
    );
}

impl Surroundings for Told {
    fn log(&self, level: Level, message: &str) {
        self.add(format!("{level:?} {message}"));
    }

    fn count(&self, metric: &str, by: u64) {
        self.add(format!("{metric} +{by}"));
    }

    fn observe(&self, metric: &str, value: f64) {
        self.add(format!("{metric} {value}"));
    }
}

fn told(deed: &str) -> (Vec<String>, Matcher) {
    let told = Arc::new(Told::default());
    let options = Options {
        surroundings: told.clone(),
        ..Options::default()
    };
    let configured = plugin("misbehave").with_settings(&settings(deed), options);
    let mut matcher = configured.matcher().expect("a matcher");
    let _ = call(&mut matcher, b"");
    (told.so_far(), matcher)
}

#[test]
fn what_is_printed_goes_to_the_log() {
    let (told, _) = told("print");
    assert_eq!(told, ["Info to standard output", "Warn to standard error"]);
}

#[test]
fn a_flood_of_messages_is_cut_and_counted() {
    let (told, matcher) = told("log-flood");
    assert_eq!(told.len(), 100);
    assert_eq!(matcher.configured().status().dropped_messages, 9_900);
}

#[test]
fn a_long_message_is_cut_and_no_fault() {
    let (told, matcher) = told("log-large");
    assert_eq!(told, vec![format!("Info {}", "x".repeat(1024)); 3]);
    assert_eq!(matcher.configured().status().faults, []);
}

#[test]
fn metrics_that_are_not_declared_are_dropped_and_counted() {
    let (told, matcher) = told("metrics");
    assert_eq!(
        told,
        ["known +2", "known 0.5"],
        "and nothing that is no number"
    );
    assert_eq!(matcher.configured().status().dropped_samples, 1);
}
