//! Cases that the ladder found once, shrunk and named: they are replayed on every rung.

use crate::rungs::Rungs;
use palisade_testkit::{oracle::Verdict, scenario::Case};
use std::{fs, path::Path};

#[test]
fn cases_found_before_stay_agreed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ladder/found");
    let mut failures = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let case: Case = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let rungs = Rungs::new(&case.world)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", file.display()));
        let answers = rungs.ask(&rungs.evaluator(), &case.packet);
        let is_allowed = answers.oracle.verdict == Verdict::Accept;
        if is_allowed != case.allow || !answers.agree() {
            failures.push(format!("{}\n{}", case.name, rungs.explain(&case.packet)));
        }
        count += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{count} cases");
}
