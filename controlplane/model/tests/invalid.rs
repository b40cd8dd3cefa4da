//! Runs every case of the invalid scenarios.

use std::path::PathBuf;

use palisade_model::{Problem, decode, decode_document, document};
use serde_json::Value;

fn scenarios() -> Vec<PathBuf> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../integration/scenarios/invalid"
    );
    let entries = std::fs::read_dir(folder).expect("the scenarios are part of the repository");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    files
}

fn cases(file: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a readable scenario");
    let value: Value = serde_saphyr::from_str(&text).expect("a scenario is valid YAML");
    value["cases"]
        .as_array()
        .expect("a scenario has cases")
        .clone()
}

fn judge(case: &Value) -> Result<(), Vec<Problem>> {
    match case.get("raw").and_then(Value::as_str) {
        Some(raw) => {
            let documents = document::read(raw).map_err(|error| vec![Problem::from(error)])?;
            assert_eq!(documents.len(), 1);
            documents
                .iter()
                .try_for_each(|document| decode_document(document).map(drop))
        }
        None => decode(&case["resource"]).map(drop),
    }
}

#[test]
fn every_case_is_judged_as_the_scenario_says() {
    let mut wrong = Vec::new();
    let mut run = 0;
    for file in scenarios() {
        for case in cases(&file) {
            run += 1;
            let result = judge(&case);
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if result.is_err() != case["reject"].as_bool().expect("a verdict") {
                wrong.push(format!("{name}: {}: {result:?}", case["why"]));
            }
            for problem in result.err().unwrap_or_default() {
                println!("{name}: {} => {problem}", case["why"]);
            }
        }
    }
    println!("{run} cases run");
    assert!(run >= 170, "only {run} cases were run");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
