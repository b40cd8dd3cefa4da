//! Reading files: forms, places, bounds.

use palisade_model::{Part, Problem, decode_document, decode_json, document};
use proptest::prelude::*;

const SET: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata:\n  name: s\nspec:\n  nets: [10.0.0.0/8]\n";

/// Titles of what a text holds.
fn titles(text: &str) -> Vec<String> {
    document::read(text)
        .expect("readable")
        .iter()
        .map(document::Document::title)
        .collect()
}

/// Every problem of the only document of a text, with the source text it points at.
fn pointed(text: &str) -> Vec<(String, String)> {
    let documents = document::read(text).expect("readable");
    let document = documents.first().expect("one document");
    let problems = decode_document(document).expect_err("invalid");
    let place = |problem: &Problem| {
        let span = document.locate(problem, text);
        text.get(span.offset..span.offset + span.length)
            .expect("inside the text")
            .to_owned()
    };
    problems
        .iter()
        .map(|problem| (problem.path.to_string(), place(problem)))
        .collect()
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata:\n  name: p\nspec:\n{spec}"
    )
}

#[test]
fn documents_sequences_lists_and_json_hold_the_same_resources() {
    let item = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: s}}";
    let json = item
        .replace("{", "{\"")
        .replace("}", "\"}")
        .replace(": ", "\": \"")
        .replace(", ", "\", \"");
    let json = json.replace("\"{", "{").replace("}\"", "}");
    for text in [
        SET.to_owned(),
        format!("---\n# nothing\n---\n{SET}---\n"),
        format!("- {item}"),
        format!("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSetList\nmetadata: {{resourceVersion: '5'}}\nitems:\n- {item}"),
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSetList\nitems:\n- metadata: {name: s}".to_owned(),
        json.clone(),
        format!("\t{json}"),
    ] {
        assert_eq!(titles(&text), ["GlobalNetworkSet(s)"], "{text}");
        assert!(decode_document(&document::read(&text).expect("readable")[0]).is_ok(), "{text}");
    }
    assert_eq!(titles(&format!("{SET}---\n{SET}")).len(), 2);
    assert!(titles("").is_empty());
    assert!(titles("# only a comment\n---\n").is_empty());
}

#[test]
fn what_holds_no_resources_is_refused() {
    for text in [
        "just text",
        "- - a",
        "a: [",
        "kind: TierList\nitems: 5",
        "a: b\n c: d",
        "{\"a\": 1",
        "? [a]\n: b",
        "a: !foo b",
    ] {
        let decoded = document::read(text).map(|documents| {
            documents
                .iter()
                .map(|d| decode_document(d).is_ok())
                .collect::<Vec<_>>()
        });
        assert!(
            !matches!(&decoded, Ok(all) if all.iter().all(|ok| *ok)),
            "{text}: {decoded:?}"
        );
    }
    let list = document::read("kind: List\napiVersion: v1\nitems: []").expect("readable");
    assert!(
        decode_document(&list[0]).is_err(),
        "a Kubernetes List is not known"
    );
}

#[test]
fn every_problem_is_reported_and_points_at_its_place() {
    let text = policy(
        "  selector: role = 'x'\n  ordr: 5\n  ingress:\n  - action: allow\n    source:\n      nets: [10.0.0.1]\n      selector: \"has(\"\n  - protocol: TCP\n",
    );
    let mut found = pointed(&text);
    found.sort();
    let wanted = [
        ("spec.ingress[0].action", "allow"),
        ("spec.ingress[0].source.nets[0]", "10.0.0.1"),
        ("spec.ingress[0].source.selector", ""),
        ("spec.ingress[1].action", "protocol"),
        ("spec.ordr", "ordr"),
        ("spec.selector", "="),
    ];
    assert_eq!(
        found,
        wanted.map(|(path, place)| (path.to_owned(), place.to_owned()))
    );
}

#[test]
fn a_wrong_type_is_reported_once_and_the_rest_is_still_judged() {
    let found = pointed(&policy(
        "  order: high\n  selector: [a]\n  types: [Sideways]\n  ingress: {action: Allow}\n",
    ));
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.order",
            "spec.selector",
            "spec.ingress",
            "spec.types[0]"
        ]
    );
}

#[test]
fn a_key_that_stands_twice_is_refused_in_yaml_and_json() {
    let text = policy("  selector: all()\n  selector: has(a)\n");
    let documents = document::read(&text).expect("readable");
    let problems = decode_document(&documents[0]).expect_err("twice");
    assert_eq!(
        problems
            .iter()
            .map(|p| (p.path.to_string(), p.part))
            .collect::<Vec<_>>(),
        [("spec.selector".to_owned(), Part::Key)]
    );
    assert_eq!(
        documents[0].locate(&problems[0], &text).line_column(&text),
        (7, 3)
    );
    let json = br#"{"apiVersion":"projectcalico.org/v3","kind":"Tier","kind":"Tier","metadata":{"name":"t"}}"#;
    assert!(decode_json(json).is_err());
}

#[test]
fn lines_and_columns_count_from_one() {
    let text = policy("  selector: \"ü == 'x'\"\n");
    let documents = document::read(&text).expect("readable");
    let problems = decode_document(&documents[0]).expect_err("not a label");
    assert_eq!(
        documents[0].locate(&problems[0], &text).line_column(&text),
        (6, 14)
    );
}

#[test]
fn anchors_are_read_but_bombs_are_not() {
    let shared = policy("  selector: &s has(a)\n  namespaceSelector: *s\n");
    assert!(decode_document(&document::read(&shared).expect("readable")[0]).is_ok());
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(document::read(&bomb).is_err());
    assert!(document::read("a: &a [*a]").is_err());
    assert!(document::read("<<: {a: b}").is_err());
}

#[test]
fn a_resource_that_names_no_namespace_is_put_into_one() {
    let namespaced = SET.replace("GlobalNetworkSet", "NetworkSet");
    let placed = |text: &str, given: Option<&str>| -> Result<String, String> {
        let mut documents = document::read(text).expect("readable");
        let document = documents.first_mut().expect("one document");
        document
            .fill_namespace(given)
            .map_err(|problem| problem.path.to_string())?;
        let decoded = decode_document(document).expect("valid");
        let namespace = decoded.resource.metadata.namespace;
        Ok(namespace.map(|name| name.to_string()).unwrap_or_default())
    };
    let own = namespaced.replace("  name: s\n", "  name: s\n  namespace: own\n");
    for nameless in [
        namespaced.clone(),
        own.replace("own", "''"),
        own.replace("own", ""),
    ] {
        assert_eq!(placed(&nameless, None), Ok("default".to_owned()));
        assert_eq!(placed(&nameless, Some("given")), Ok("given".to_owned()));
    }
    assert_eq!(placed(&own, None), Ok("own".to_owned()));
    assert_eq!(placed(&own, Some("own")), Ok("own".to_owned()));
    assert_eq!(
        placed(&own, Some("given")),
        Err("metadata.namespace".to_owned())
    );
    assert_eq!(placed(SET, Some("given")), Ok(String::new()));
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        format!("{}1", "{\"a\":".repeat(100_000)),
    ] {
        assert!(document::read(&text).is_err());
    }
}

#[test]
fn nothing_behind_a_key_is_nothing_and_not_a_tilde() {
    let labelled = SET.replace("  name: s\n", "  name: s\n  labels:\n    a:\n");
    let decoded = decode_document(&document::read(&labelled).expect("readable")[0])
        .expect("an empty label value");
    assert_eq!(
        decoded
            .resource
            .metadata
            .labels
            .get("a")
            .map(String::as_str),
        Some("")
    );
    let empty = SET.replace("  nets: [10.0.0.0/8]\n", "  nets:\n");
    assert!(decode_document(&document::read(&empty).expect("readable")[0]).is_ok());
}

#[test]
fn a_block_scalar_keeps_its_line_break_and_the_selector_is_refused() {
    let found = pointed(&policy("  selector: |\n    has(a)\n"));
    assert_eq!(found[0].0, "spec.selector");
    let folded = policy("  selector: >-\n    has(a) &&\n    has(b)\n");
    assert!(decode_document(&document::read(&folded).expect("readable")[0]).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
        judge(&text);
    }

    #[test]
    fn no_mixture_of_yaml_makes_the_reader_panic(
        pieces in proptest::collection::vec(prop_oneof![
            Just("kind: GlobalNetworkPolicy\n"), Just("apiVersion: projectcalico.org/v3\n"), Just("metadata:\n"),
            Just("  name: p\n"), Just("spec:\n"), Just("  ingress:\n"), Just("  - action: Allow\n"), Just("    source:\n"),
            Just("      nets: [10.0.0.0/8, "), Just("]\n"), Just("{"), Just("}"), Just("- "), Just("&a "), Just("*a "),
            Just("\n"), Just("'"), Just("\""), Just("? "), Just(": "), Just("---\n"), Just("  selector: "), Just("ü"),
            Just("!!str "), Just("|\n"), Just("  order: 1e999\n"), Just("\t"),
        ], 0..30)
    ) {
        judge(&pieces.concat());
    }
}

/// Reads, decodes and locates, whatever comes of it.
fn judge(text: &str) {
    for document in document::read(text).unwrap_or_default() {
        for problem in decode_document(&document).err().unwrap_or_default() {
            let span = document.locate(&problem, text);
            assert!(
                text.get(span.offset..span.offset + span.length).is_some(),
                "{problem} at {span:?}"
            );
            assert_eq!(problem.path.to_string().parse(), Ok(problem.path));
        }
    }
}
