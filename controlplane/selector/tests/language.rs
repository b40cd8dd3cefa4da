//! Laws of the language: canonical text is a fixed point, nothing panics, errors have places.

use std::collections::{BTreeMap, BTreeSet};

use palisade_selector::{Expr, Label, Literal, ParseErrorKind, Selector};
use proptest::prelude::*;

fn label() -> impl Strategy<Value = Label> {
    prop_oneof!["(all|has|in|not|global|a|b|c)", "[A-Za-z0-9_./-]{1,9}"]
        .prop_map(|text| Label::new(&text).expect("label characters only"))
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof!["[abc]{0,2}", "[^\"]{0,6}", "[^']{0,6}"]
        .prop_filter_map("both quotes", |text| Literal::new(&text))
}

fn literals() -> impl Strategy<Value = BTreeSet<Literal>> {
    proptest::collection::btree_set(literal(), 0..4)
}

fn selector() -> impl Strategy<Value = Selector> {
    let leaf = prop_oneof![
        Just(Expr::All),
        Just(Expr::Global),
        label().prop_map(Expr::Has),
        (label(), literal()).prop_map(|(k, v)| Expr::Equal(k, v)),
        (label(), literal()).prop_map(|(k, v)| Expr::NotEqual(k, v)),
        (label(), literals()).prop_map(|(k, v)| Expr::In(k, v)),
        (label(), literals()).prop_map(|(k, v)| Expr::NotIn(k, v)),
        (label(), literal()).prop_map(|(k, v)| Expr::Contains(k, v)),
        (label(), literal()).prop_map(|(k, v)| Expr::StartsWith(k, v)),
        (label(), literal()).prop_map(|(k, v)| Expr::EndsWith(k, v)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Expr::And),
            proptest::collection::vec(inner, 0..4).prop_map(Expr::Or),
        ]
    })
    .prop_map(Selector::from_expr)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[abc]", "[abc]{0,2}", 0..4)
}

proptest! {
    #[test]
    fn canonical_text_parses_back_to_the_same_tree(selector in selector()) {
        let text = selector.to_string();
        prop_assert_eq!(Selector::parse(&text), Ok(selector), "{}", text);
    }

    #[test]
    fn negation_and_joining_follow_logic(a in selector(), b in selector(), labels in labels()) {
        let (x, y) = (a.matches(&labels), b.matches(&labels));
        prop_assert_eq!(a.clone().negate().matches(&labels), !x);
        prop_assert_eq!(a.clone().and(b.clone()).matches(&labels), x && y);
        prop_assert_eq!(a.or(b).matches(&labels), x || y);
    }

    #[test]
    fn any_text_is_parsed_or_refused_at_a_place_inside_it(text in "\\PC{0,40}") {
        check_place(&text)?;
    }

    #[test]
    fn selector_like_text_is_parsed_or_refused_at_a_place_inside_it(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("a"), Just("=="), Just("'x'"), Just("\"y"), Just("&&"), Just("||"), Just("!"), Just("("), Just(")"),
                Just("has("), Just("all("), Just("in"), Just("not"), Just("{"), Just("}"), Just(","), Just(" "),
                Just("\n"), Just("starts"), Just("with"), Just("=") , Just("ü"),
            ],
            0..25,
        )
    ) {
        check_place(&pieces.concat())?;
    }
}

fn check_place(text: &str) -> Result<(), TestCaseError> {
    match Selector::parse(text) {
        Ok(selector) => prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector)),
        Err(error) => {
            prop_assert!(
                text.get(error.offset..error.offset + error.length)
                    .is_some(),
                "{:?}",
                error
            );
            prop_assert!(error.length > 0 || error.offset == text.len());
        }
    }
    Ok(())
}

#[test]
fn spellings_of_one_selector_share_a_canonical_text() {
    for (written, canonical) in [
        ("", "all()"),
        ("  all( ) ", "all()"),
        ("a=='b'", r#"a == "b""#),
        (r#"a == '"'"#, r#"a == '"'"#),
        ("a in {'y', 'x', 'y',}", r#"a in {"x", "y"}"#),
        ("a notin {}", "a not in {}"),
        (
            "a startswith 'x' && b endswith 'y' || has(c)",
            r#"((a starts with "x" && b ends with "y") || has(c))"#,
        ),
        ("!!! (has(a))", "!has(a)"),
        ("!(a == 'b' || ! has(c))", r#"!(a == "b" || !has(c))"#),
    ] {
        assert_eq!(
            Selector::parse(written).map(|s| s.to_string()),
            Ok(canonical.to_owned()),
            "{written}"
        );
    }
}

#[test]
fn errors_point_at_what_is_wrong() {
    for (text, offset, length) in [
        ("role = 'x'", 5, 1),
        ("a == 'b' && %", 12, 1),
        ("a == 'b' and c == 'd'", 9, 3),
        ("(a == 'b'", 0, 1),
        ("a == 'b", 5, 2),
        ("a@b == 'c'", 1, 1),
        ("has(foo) ||", 11, 0),
        ("a == 'b'\n", 8, 1),
        ("a inn {'x'}", 2, 3),
        ("a == 'ü' ü", 10, 2),
    ] {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!(
            (error.offset, error.length),
            (offset, length),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_line_break_is_named() {
    let kind = |text| Selector::parse(text).map_err(|error| error.kind);
    assert_eq!(kind("a == 'b'\n"), Err(ParseErrorKind::LineBreak));
    assert_eq!(kind("a\r\n== 'b'"), Err(ParseErrorKind::LineBreak));
    assert!(kind("a == 'b\n'").is_ok(), "a string may contain one");
}

#[test]
fn deep_nesting_is_refused_or_taken_without_exhausting_the_stack() {
    let nested = |open: &str, inner: &str, close: &str| {
        let text = format!("{}{inner}{}", open.repeat(200_000), close.repeat(200_000));
        Selector::parse(&text).map_err(|error| error.kind)
    };
    assert_eq!(
        nested("(", "", "").err(),
        Some(ParseErrorKind::ExpectedTerm)
    );
    assert_eq!(
        nested("!", "", "").err(),
        Some(ParseErrorKind::ExpectedTerm)
    );
    assert!(nested("(", "all()", ")").is_ok());
    assert!(nested("!(", "all()", ")").is_ok());
    assert_eq!(
        nested("has(a)&&(", "all()", ")").err(),
        Some(ParseErrorKind::TooDeep)
    );
    assert_eq!(
        nested("!(has(a)||", "all()", ")").err(),
        Some(ParseErrorKind::TooDeep)
    );
}

#[test]
fn whatever_fits_a_field_is_never_too_deep() {
    for (open, close) in [
        ("a==''&&(", ")"),
        ("!(a==''||", ")"),
        ("a==''||a==''&&!(", ")"),
    ] {
        let levels = 1024 / (open.len() + close.len());
        let text = format!("{}a==''{}", open.repeat(levels), close.repeat(levels));
        assert!(Selector::parse(&text).is_ok(), "{open}");
    }
    let wide = vec!["a=='' && b==''"; 1000].join(" || ");
    assert!(Selector::parse(&wide).is_ok(), "width is not depth");
}

#[test]
fn rewriting_works_on_the_tree_and_not_on_the_text() {
    let parse = |text: &str| Selector::parse(text).expect(text);
    let namespaced = parse("has(projectcalico.org/namespace)");
    let selector = parse("all() && x == 'all()' && !global()");
    assert_eq!(
        selector.replace_all(&namespaced),
        parse("has(projectcalico.org/namespace) && x == 'all()' && !global()")
    );
    assert_eq!(
        selector.replace_global(&parse("!has(n)")),
        parse("all() && x == 'all()' && has(n)")
    );
    assert_eq!(
        parse("env != 'prod'").with_label_prefix("pcns."),
        Ok(parse("pcns.env != 'prod'"))
    );
    assert!(
        parse(&format!("has({})", "l".repeat(512)))
            .with_label_prefix("pcns.")
            .is_err()
    );
}
