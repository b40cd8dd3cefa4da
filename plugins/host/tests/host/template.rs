//! What `palisadectl plugin new` writes is a plugin as it stands.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use palisade_plugin_host::{Answer, Options, Packet, template, verify};

use crate::guests::{HOST, packet};

#[test]
fn a_new_project_builds_and_judges_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in template::rust("my-plugin").expect("a name") {
        let path = folder.path().join(file.path);
        fs::create_dir_all(path.parent().expect("within the folder")).expect("made");
        fs::write(path, file.text).expect("written");
    }
    let component = build(folder.path());
    let verified = verify(component, None).expect("a plugin");
    assert_eq!(verified.manifest().name, "my-plugin");
    let plugin = HOST.load(&verified).expect("it fits the contract");
    let configured = plugin.with_settings(
        r#"{"ports": [8080], "longerThan": 100}"#,
        Options::default(),
    );
    let mut matcher = configured.matcher().expect("a matcher");
    let mut judge = |port, length| {
        let asked = Packet {
            destination_port: port,
            payload_length: length,
            ..packet(b"")
        };
        matcher.evaluate(&asked, Instant::now())
    };
    assert_eq!(judge(8080, 500), Ok(Answer::Match { remember: None }));
    assert_eq!(judge(8080, 20), Ok(Answer::NoMatch { remember: None }));
    assert_eq!(judge(9090, 500), Ok(Answer::NoMatch { remember: None }));
}

/// Builds as an author does, except that the versions are those of our own lock file, which are at hand.
fn build(folder: &Path) -> Vec<u8> {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).expect("copied");
    let target_folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");
    let status = Command::new(env!("CARGO"))
        .current_dir(folder)
        .args(["build", "--quiet", "--offline", "--release"])
        .args(["--target", "wasm32-wasip2", "--target-dir", target_folder])
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the new project does not build");
    let file = Path::new(target_folder).join("wasm32-wasip2/release/my_plugin.wasm");
    fs::read(file).expect("the component")
}
