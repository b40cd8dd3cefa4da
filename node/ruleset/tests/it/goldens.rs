//! Small rulesets in full, as `nft -f` reads them.

use crate::{
    asking::dns,
    views::{add_list, add_workload, from, node_config, port_policy, rule, small_view, view},
    worlds,
};
use expect_test::expect_file;
use palisade_policy::{
    class::{Direction, PolicyList},
    config::{DenyAction, EndpointToHostAction},
    endpoint::InterfaceMatch,
    ids::PolicyId,
    plugin::OnFailure,
    rule::{Action, Match, Policy},
    view::View,
};
use palisade_ruleset::{
    ir::{ChainName, Expression, Rule, Table, TableName, Verdict},
    lower::{LowerCache, Lowered, lower},
    text,
};
use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

fn lowered(view: &View) -> Lowered {
    let position = worlds::position(1);
    lower(
        view,
        &worlds::environment(),
        Some(&position),
        &mut LowerCache::new(),
    )
}

fn golden(name: &str, view: &View) {
    let lowered = lowered(view);
    assert_eq!(lowered.faults, vec![]);
    let text = text::render(&lowered.ruleset);
    expect_file![format!(
        "{}/tests/goldens/{name}.nft",
        env!("CARGO_MANIFEST_DIR")
    )]
    .assert_eq(&text);
    nft_accepts(name, &text);
}

/// Asks `nft --check` in a network namespace of its own; says so where that cannot be asked. Rules that queue are left
/// out: kernels without nf_tables' own expression refuse them from nft. So are lookups of protocol and original port
/// together, which nft lists and does not read. Packets prove both elsewhere.
fn nft_accepts(name: &str, text: &str) {
    let unread = |line: &&str| line.contains(" queue num ") || line.contains(" . ct original");
    let (left_out, others): (Vec<_>, Vec<_>) = text.lines().partition(unread);
    if !left_out.is_empty() {
        eprintln!(
            "{name}: {} rules are left out of nft --check",
            left_out.len()
        );
    }
    let text = others.join("\n") + "\n";
    let spawned = Command::new("unshare")
        .args(["-n", "nft", "--check", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let asked = spawned.and_then(|mut child| {
        if let Some(mut stdin) = child.stdin.take() {
            // A child that cannot run closes its end; its status says so.
            let _ = stdin.write_all(text.as_bytes());
        }
        child.wait_with_output()
    });
    let complaint = match asked {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(err) => err.to_string(),
    };
    let cannot = ["No such file", "Operation not permitted", "unshare failed"];
    assert!(
        cannot.iter().any(|reason| complaint.contains(reason)),
        "nft refuses {name}: {complaint}"
    );
    assert!(
        std::env::var("PALISADE_REQUIRE").is_err(),
        "nft could not be asked: {complaint}"
    );
    eprintln!("SKIPPED: nft --check of {name}: {complaint}");
}

#[test]
fn without_endpoint_the_stages_accept() {
    let mut view = small_view();
    view.endpoints.clear();
    golden("no_endpoint", &view);
}

#[test]
fn a_tier_is_an_index() {
    golden("index", &small_view());
}

#[test]
fn rejects_have_chains_of_their_own() {
    let mut view = small_view();
    let mut config = node_config();
    config.deny_action = DenyAction::Reject;
    config.ipv6 = false;
    view.config = Arc::new(config);
    golden("reject", &view);
}

#[test]
fn a_default_endpoint_leaves_loopback_alone() {
    let mut view = small_view();
    let mut endpoint = (*view.endpoints[&"hep/h0".into()]).clone();
    endpoint.interface = InterfaceMatch::Any;
    view.endpoints.insert("hep/h0".into(), Arc::new(endpoint));
    golden("default_endpoint", &view);
}

#[test]
fn a_workload_has_stages_of_its_own() {
    let mut view = small_view();
    add_workload(&mut view);
    golden("workload_drop", &view);
    let mut config = node_config();
    config.endpoint_to_host_action = EndpointToHostAction::Accept;
    config.allow_ipip_from_workloads = true;
    view.config = Arc::new(config);
    golden("workload_accept", &view);
}

#[test]
fn a_workload_with_source_prefixes_has_a_chain_of_them() {
    let mut view = small_view();
    add_workload(&mut view);
    let mut endpoint = (*view.endpoints[&"wep/w0".into()]).clone();
    endpoint.source_prefixes = ["192.0.2.0/24", "198.51.100.0/24", "fd00:99::/64"]
        .map(|net| net.parse().expect("a prefix"))
        .into();
    view.endpoints.insert("wep/w0".into(), Arc::new(endpoint));
    let mut config = node_config();
    config.allow_source_prefixes = true;
    view.config = Arc::new(config);
    golden("workload_prefixes", &view);
}

#[test]
fn untracked_policy_is_judged_again_and_keeps_failsafes_both_ways() {
    let mut view = small_view();
    add_list(&mut view, PolicyList::Untracked, Direction::Ingress);
    add_list(&mut view, PolicyList::Untracked, Direction::Egress);
    golden("untracked", &view);
}

#[test]
fn pre_dnat_policy_is_judged_again_by_what_was_sent() {
    let mut view = small_view();
    add_list(&mut view, PolicyList::PreDnat, Direction::Ingress);
    golden("pre_dnat", &view);
}

/// All rules that a chain leads to.
fn reached<'t>(table: &'t Table, from: &str) -> Vec<&'t Rule> {
    let mut open = vec![ChainName::new(from)];
    let (mut seen, mut rules) = (BTreeSet::new(), Vec::new());
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for rule in table.chains[&name].rules.iter() {
            let last = rule.expressions.last();
            let to: Vec<&Verdict> = match last {
                Some(Expression::Verdict(verdict)) => vec![verdict],
                Some(Expression::VerdictMap { map, .. }) => {
                    table.maps[map].elements.values().collect()
                }
                _ => Vec::new(),
            };
            open.extend(to.into_iter().filter_map(|verdict| match verdict {
                Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain.clone()),
                Verdict::Accept | Verdict::Drop | Verdict::Return => None,
            }));
            rules.push(rule);
        }
    }
    rules
}

#[test]
fn lists_that_are_judged_again_only_decide() {
    let mut view = small_view();
    for direction in [Direction::Ingress, Direction::Egress] {
        add_list(&mut view, PolicyList::Untracked, direction);
    }
    add_list(&mut view, PolicyList::PreDnat, Direction::Ingress);
    let mut config = node_config();
    config.deny_action = DenyAction::Reject;
    view.config = Arc::new(config);
    worlds::add_auditor(&mut view);
    let lowered = lowered(&view);
    let (main, raw) = (TableName::Main, TableName::Raw);
    let acts = |rule: &&Rule| {
        let does = |e: &Expression| {
            matches!(
                e,
                Expression::Log { .. }
                    | Expression::Limit { .. }
                    | Expression::Counter
                    | Expression::SetMark { .. }
                    | Expression::MapMark { .. }
                    | Expression::Notrack
                    | Expression::Reject
            )
        };
        rule.expressions.iter().any(does)
    };
    for (table, chain, allowed) in [
        (main, "again", false),
        (main, "again_untracked_out", false),
        (raw, "prednat_again_untracked", false),
        // So that the look finds what there is.
        (raw, "untracked_in", true),
        (raw, "prednat", true),
    ] {
        let rules = reached(&lowered.ruleset.tables[&table], chain);
        assert!(rules.len() > 10, "{chain}");
        assert_eq!(rules.iter().any(acts), allowed, "{chain}: {rules:#?}");
    }
}

#[test]
fn a_class_asks_plugins_at_its_head() {
    golden("asking", &dns(OnFailure::Deny, Action::Allow));
}

#[test]
fn auditors_are_told_of_denials_and_log_rules() {
    let mut view = small_view();
    worlds::add_auditor(&mut view);
    golden("audit", &view);
}

#[test]
fn too_many_copies_make_a_plain_chain() {
    let mut policies = Vec::new();
    for n in 0..60 {
        policies.push((format!("gnp/p{n:02}a"), port_policy(n, "s:01")));
        let all = Policy {
            ingress: vec![rule(
                1000 + u64::from(n),
                Action::Allow,
                from(Match::default(), "s:02"),
            )],
            ..Policy::default()
        };
        policies.push((format!("gnp/p{n:02}b"), all));
    }
    let lowered = lowered(&view(policies, Vec::new()));
    assert_eq!(lowered.plain.len(), 1);
    assert_eq!(lowered.plain.first().map(|tier| tier.rules), Some(120));
    nft_accepts("plain", &text::render(&lowered.ruleset));
}

#[test]
fn a_missing_policy_denies_and_is_named() {
    let mut view = small_view();
    view.policies.remove(&PolicyId::from("gnp/web"));
    let lowered = lowered(&view);
    assert_eq!(lowered.faults.len(), 1);
    let table = lowered.ruleset.tables.values().next().expect("a table");
    let mut maps = table.maps.iter();
    let dispatch = maps.find(|(name, _)| name.as_str().starts_with("input_if_"));
    let (_, map) = dispatch.expect("the dispatch");
    assert!(
        map.elements
            .values()
            .all(|verdict| *verdict == palisade_ruleset::ir::Verdict::Drop)
    );
}
