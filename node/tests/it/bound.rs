//! Numbers of the kernel that another program has: people are told which, and it ends by itself.

use crate::{
    matchers::{
        Daemon, alive, asking, audited, failure_policies_hold, passes, the_other_plugin_is_well,
        until, with_daemon,
    },
    view::view,
};
use palisade_netfilter::{
    nflog::Log,
    queue::{Queue, QueueConfig},
};
use palisade_node::{
    observe::report::{Sources, report},
    plugins::audit::sink::Directory,
};
use palisade_proto::v1::Condition;
use palisade_ruleset::plugins::{AUDIT_GROUP, QUEUE_BASE};
use std::path::Path;

/// What the control plane is told of this node.
fn told(daemon: &Daemon, state: &Path) -> Vec<Condition> {
    let observed = daemon.running.reconciler.observed().borrow().clone();
    let loaded = daemon.supervisor.loaded.borrow().clone();
    let bind_failures = &daemon.supervisor.bind_failures;
    let failing = &daemon.supervisor.failing;
    report(&Sources {
        observed: &observed,
        plugins: &loaded,
        sinks: &Directory::new(state),
        failing,
        bind_failures,
        link: &[],
    })
    .conditions
}

/// Type and number of each condition that says that somebody else has one.
fn taken(conditions: &[Condition]) -> Vec<(String, String)> {
    conditions
        .iter()
        .map(|told| {
            assert_eq!(told.reason, "NumberTaken", "{told:?}");
            let number = told.message.split(" is bound by another program").next();
            (told.r#type.clone(), number.unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn a_queue_and_a_group_of_another_program_are_named_until_they_are_free() {
    with_daemon(|state| async move {
        let number = QUEUE_BASE + 1;
        let queue = Queue::open(number, &QueueConfig::default()).expect("free");
        let group = Log::open(AUDIT_GROUP).expect("free");
        let daemon = Daemon::start(state.path()).await;
        let file = state.path().join("audit.log");
        let view = audited(&file);
        daemon.apply(None, &view, 1).await;
        daemon.plugins_ready(3).await;

        let said = || taken(&told(&daemon, state.path()));
        let named = |kind: &str, number: String| (kind.to_owned(), number);
        let unasked = named("PluginsUnavailable", format!("NFQUEUE {number}"));
        let unheard = named("AuditUnavailable", format!("NFLOG group {AUDIT_GROUP}"));
        until("told", || said() == [unasked.clone(), unheard.clone()]).await;
        assert!(!alive());
        failure_policies_hold("somebody else has the queue");

        drop(group);
        until("heard", || said() == std::slice::from_ref(&unasked)).await;
        until("written", || {
            passes(9, b"x", false, "no rule allows it");
            std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"deny\""))
        })
        .await;
        assert!(!alive());

        drop(queue);
        until("asked", || said().is_empty() && alive()).await;
        the_other_plugin_is_well("the queue is free");
        daemon.stop().await;
    });
}

#[test]
fn a_number_that_nobody_wants_any_more_is_not_told() {
    with_daemon(|state| async move {
        let queue = Queue::open(QUEUE_BASE + 1, &QueueConfig::default()).expect("free");
        let daemon = Daemon::start(state.path()).await;
        let asks = asking("nothing");
        daemon.apply(None, &asks, 1).await;
        daemon.plugins_ready(2).await;
        let said = || told(&daemon, state.path());
        until("told", || said().len() == 1).await;
        daemon.apply(Some(&asks), &view(&[], &[]), 2).await;
        until("forgotten", || said().is_empty()).await;
        drop(queue);
        daemon.stop().await;
    });
}
