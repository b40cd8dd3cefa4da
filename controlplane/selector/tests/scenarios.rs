//! Runs every case of the selector scenarios.

use std::collections::BTreeMap;

use palisade_selector::Selector;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    selector: String,
    labels: Option<BTreeMap<String, String>>,
    r#match: Option<bool>,
    #[serde(default)]
    error: bool,
}

#[test]
fn every_selector_case_holds() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../integration/scenarios/selectors.yaml"
    );
    let text =
        std::fs::read_to_string(path).expect("the selector scenarios are part of the repository");
    let file: File = serde_saphyr::from_str(&text).expect("the selector scenarios are valid YAML");
    let wrong: Vec<_> = file.cases.iter().filter_map(verdict).collect();
    println!("{} cases", file.cases.len());
    assert!(file.cases.len() > 150);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case, if anything.
fn verdict(case: &Case) -> Option<String> {
    match Selector::parse(&case.selector) {
        Ok(_) if case.error => Some(format!("`{}` must be refused", case.selector)),
        Err(error) if !case.error => Some(format!("`{}`: {error}", case.selector)),
        Err(_) => None,
        Ok(selector) => {
            let labels = case.labels.clone().unwrap_or_default();
            let canonical = Selector::parse(&selector.to_string());
            let wanted = case.r#match?;
            let same = canonical.as_ref() == Ok(&selector);
            let right = selector.matches(&labels) == wanted;
            (!same || !right).then(|| {
                format!(
                    "`{}` on {labels:?}: wanted {wanted}, canonical `{selector}`",
                    case.selector
                )
            })
        }
    }
}
