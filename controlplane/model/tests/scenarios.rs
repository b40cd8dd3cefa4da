//! Every resource that a network scenario applies is accepted.

use std::path::Path;

use palisade_model::{decode_document, document};
use serde_json::Value;

#[test]
fn resources_of_the_network_scenarios_are_accepted() {
    let root = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../integration/scenarios"
    ));
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for folder in std::fs::read_dir(root).expect("the scenarios are part of the repository") {
        let folder = folder.expect("a readable folder").path();
        if !folder.is_dir() || folder.ends_with("invalid") {
            continue;
        }
        for file in std::fs::read_dir(&folder).expect("a readable folder") {
            let file = file.expect("a readable folder").path();
            let text = std::fs::read_to_string(&file).expect("a readable scenario");
            let scenario: Value = serde_saphyr::from_str(&text).expect("a scenario is valid YAML");
            for apply in scenario["steps"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|step| step["apply"].as_str())
            {
                for document in document::read(apply).expect("scenarios apply YAML") {
                    accepted += 1;
                    if let Err(problems) = decode_document(&document) {
                        wrong.push(format!(
                            "{}: {}: {problems:?}",
                            file.display(),
                            document.title()
                        ));
                    }
                }
            }
        }
    }
    assert!(accepted > 350, "only {accepted} resources were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
