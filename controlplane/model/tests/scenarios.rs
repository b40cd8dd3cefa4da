//! Every resource that a network scenario applies is accepted, and can be read once it is stored.

use std::path::Path;

use palisade_model::{Decoded, decode_document, document, stored, unenforced};
use serde_json::Value;

/// Why what was accepted cannot be read as it is stored; `None` if it can, or if a write of it is refused.
fn unread(decoded: &Decoded) -> Option<String> {
    let row = stored::encode(&decoded.json).expect("encodes");
    let key = decoded.resource.id().store_key();
    match stored::read(key.as_bytes(), &row) {
        _ if !unenforced(&decoded.resource).is_empty() => None,
        Ok(read) => (read.resource != decoded.resource).then(|| "reads as another".to_owned()),
        Err(row) => Some(row.to_string()),
    }
}

#[test]
fn resources_of_the_network_scenarios_are_accepted_and_read_again() {
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
                    let fault = match decode_document(&document) {
                        Ok(decoded) => unread(&decoded),
                        Err(problems) => Some(format!("{problems:?}")),
                    };
                    if let Some(fault) = fault {
                        wrong.push(format!("{}: {}: {fault}", file.display(), document.title()));
                    }
                }
            }
        }
    }
    assert!(accepted > 350, "only {accepted} resources were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
