//! An explanation as people and programs read it: what `palisadectl explain` and `palisade-node explain` print.

use crate::v1::{
    Alternative, AskedPlugin, ExplainResponse, PluginAnswer, StagedVerdict, TraceStep, Verdict,
};
use serde_json::{Value, json};

/// What a verdict is called.
pub const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "allowed",
        Verdict::Drop => "denied (drop)",
        Verdict::Reject => "denied (reject)",
        Verdict::Depends => "depends",
        Verdict::Unspecified => "unknown",
    }
}

/// Verdict and reason, on one line without its end.
pub fn line(answer: &ExplainResponse) -> String {
    format!("{}: {}", word(answer.verdict()), answer.reason)
}

/// For programs.
pub fn value(answer: &ExplainResponse) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let position = answer.position.as_ref();
    json!({
        "verdict": word(answer.verdict()),
        "reason": answer.reason,
        "rule": rule(answer.rule_id),
        "revision": position.map(|position| position.revision),
        "digest": position.map(|position| hex(&position.digest)),
        "caveats": answer.caveats,
        "steps": steps(&answer.steps),
        "alternatives": alternatives(&answer.alternatives),
        "staged": answer.staged.as_ref().map(staged),
    })
}

fn staged(staged: &StagedVerdict) -> Value {
    json!({
        "verdict": word(staged.verdict()),
        "reason": staged.reason,
        "steps": steps(&staged.steps),
        "alternatives": alternatives(&staged.alternatives),
    })
}

fn alternatives(alternatives: &[Alternative]) -> Vec<Value> {
    let asked = |asked: &AskedPlugin| {
        let answer = match asked.answer() {
            PluginAnswer::Match => "match",
            PluginAnswer::NoMatch => "no match",
            PluginAnswer::None | PluginAnswer::Unspecified => "none",
        };
        json!({
            "plugin": asked.name,
            "settings": asked.settings,
            "answer": answer,
            "assumed": asked.assumed,
        })
    };
    let alternative = |alternative: &Alternative| {
        json!({
            "asked": alternative.asked.iter().map(asked).collect::<Vec<_>>(),
            "verdict": word(alternative.verdict()),
            "reason": alternative.reason,
            "rule": rule(alternative.rule_id),
            "steps": steps(&alternative.steps),
        })
    };
    alternatives.iter().map(alternative).collect()
}

fn rule(id: u64) -> Option<String> {
    (id != 0).then(|| format!("{id:016x}"))
}

fn steps(steps: &[TraceStep]) -> Vec<Value> {
    let step =
        |s: &TraceStep| json!({ "stage": s.stage, "subject": s.subject, "outcome": s.outcome });
    steps.iter().map(step).collect()
}

/// For people: the verdict, what keeps it from being certain, and the way through the rules.
pub fn text(answer: &ExplainResponse) -> String {
    let mut text = line(answer) + "\n";
    for caveat in &answer.caveats {
        text += &format!("but {caveat}\n");
    }
    text += "\n";
    text += &way(&answer.steps, &answer.alternatives);
    if let Some(staged) = &answer.staged {
        text += &format!(
            "\nwith staged policies in force, {}: {}\n",
            word(staged.verdict()),
            staged.reason
        );
        // The same way to the same end needs no second telling.
        let told = staged.steps == answer.steps;
        if !told || staged.alternatives != answer.alternatives {
            text += &format!("\n{}", way(&staged.steps, &staged.alternatives));
        }
    }
    text
}

/// The way through the rules, or each way that plugins may open.
fn way(steps: &[TraceStep], alternatives: &[Alternative]) -> String {
    match alternatives {
        [] => trace(steps),
        [only] => format!("{}\n{}", taken(only), trace(steps)),
        several => {
            let ways = several.iter().map(|alternative| {
                let end = format!("{}: {}", word(alternative.verdict()), alternative.reason);
                let taken = taken(alternative);
                format!("{taken}{end}\n\n{}", trace(&alternative.steps))
            });
            ways.collect::<Vec<_>>().join("\n")
        }
    }
}

/// What plugins are taken to answer: one line for each question that rules ask.
fn taken(alternative: &Alternative) -> String {
    let line = |asked: &AskedPlugin| {
        let answer = match asked.answer() {
            PluginAnswer::Match => "matches",
            PluginAnswer::NoMatch => "does not match",
            PluginAnswer::None | PluginAnswer::Unspecified => "gives no answer",
        };
        let assumed = if asked.assumed { " (as assumed)" } else { "" };
        let AskedPlugin { name, settings, .. } = asked;
        format!("if plugin `{name}` {settings} {answer}{assumed}:\n")
    };
    alternative.asked.iter().map(line).collect()
}

/// A table with aligned columns and no lines, as `palisadectl` prints tables.
fn trace(steps: &[TraceStep]) -> String {
    let header = ["STAGE", "LOOKED AT", "OUTCOME"];
    let rows = steps
        .iter()
        .map(|step| [&*step.stage, &*step.subject, &*step.outcome]);
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: fn(&[&str; 3]) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let stage = width(|[stage, ..]| stage.chars().count());
    let subject = width(|[_, subject, _]| subject.chars().count());
    let line = |[a, b, c]: &[&str; 3]| {
        let line = format!("{a:stage$}   {b:subject$}   {c}");
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_a_plugin_is_shown_with_what_comes_of_it() {
        let alternative = |answer: PluginAnswer, verdict: Verdict, reason: &str| Alternative {
            asked: vec![AskedPlugin {
                name: "dns".into(),
                settings: r#"{"suffixes":["x"]}"#.into(),
                answer: answer.into(),
                assumed: false,
            }],
            verdict: verdict.into(),
            reason: reason.into(),
            steps: vec![TraceStep {
                stage: "output".into(),
                subject: format!("subject {reason}"),
                outcome: "deny".into(),
            }],
            ..Alternative::default()
        };
        let mut answer = ExplainResponse {
            verdict: Verdict::Depends.into(),
            reason: "depends on plugin `dns`".into(),
            alternatives: vec![
                alternative(PluginAnswer::Match, Verdict::Drop, "first"),
                alternative(PluginAnswer::NoMatch, Verdict::Accept, "second"),
            ],
            ..ExplainResponse::default()
        };
        let text = super::text(&answer);
        let mut rest = text.as_str();
        for part in [
            "depends: depends on plugin `dns`",
            r#"if plugin `dns` {"suffixes":["x"]} matches:"#,
            "denied (drop): first",
            "subject first",
            "does not match:",
            "allowed: second",
            "subject second",
        ] {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("{part} in {text}"));
            rest = &rest[at..];
        }
        let json = value(&answer);
        assert_eq!(json["alternatives"][1]["verdict"], "allowed");
        assert_eq!(json["alternatives"][1]["asked"][0]["answer"], "no match");

        answer.alternatives.truncate(1);
        answer.alternatives[0].asked[0].assumed = true;
        let text = super::text(&answer);
        assert!(text.contains("matches (as assumed)"), "{text}");
    }

    #[test]
    fn doubts_stand_right_below_the_verdict() {
        let answer = ExplainResponse {
            verdict: Verdict::Accept.into(),
            reason: "why".into(),
            caveats: vec!["node `h1` is not connected".into()],
            ..ExplainResponse::default()
        };
        let text = super::text(&answer);
        assert!(text.starts_with("allowed: why\nbut node `h1` is not connected\n\n"));
        let json = value(&answer);
        assert_eq!(json["caveats"][0], "node `h1` is not connected");
    }

    #[test]
    fn staged_policies_tell_what_they_would_do() {
        let step = |subject: &str, outcome: &str| TraceStep {
            stage: "pre-dnat".into(),
            subject: subject.into(),
            outcome: outcome.into(),
        };
        let mut answer = ExplainResponse {
            verdict: Verdict::Accept.into(),
            reason: "why".into(),
            steps: vec![step("gnp/a", "accept")],
            ..ExplainResponse::default()
        };
        assert!(!super::text(&answer).contains("staged"));
        answer.staged = Some(StagedVerdict {
            verdict: Verdict::Drop.into(),
            reason: "because".into(),
            steps: vec![step("gnp/b", "deny")],
            ..StagedVerdict::default()
        });
        let text = super::text(&answer);
        let at = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("{part} in {text}"))
        };
        assert!(at("allowed: why") < at("gnp/a"));
        assert!(at("gnp/a") < at("with staged policies in force, denied (drop): because"));
        assert!(at("because") < at("gnp/b"));
        let json = value(&answer);
        assert_eq!(json["staged"]["steps"][0]["stage"], "pre-dnat");
    }
}
