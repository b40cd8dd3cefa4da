//! Compiled code is kept, and nothing is loaded that this node did not write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use palisade_plugin_host::{Answer, Cache, CacheError, Host, HostConfig, Options};

use crate::guests::{packet, verified};

fn host(folder: &Path) -> Host {
    let cache = Cache::open(folder).expect("a folder of ours");
    let config = HostConfig {
        cache: Some(cache),
        ..HostConfig::default()
    };
    Host::new(config).expect("WebAssembly runs here")
}

/// Loads the plugin with a new host and sees that it works.
fn works(folder: &Path) {
    let plugin = host(folder)
        .load(&verified("misbehave-auditor"))
        .expect("loads");
    let configured = plugin.with_settings("keep", Options::default());
    let mut auditor = configured.auditor().expect("an auditor");
    assert_eq!(auditor.process(&[], Instant::now(), 0), Ok(vec![]));
    auditor.warm(Instant::now(), 0).expect("an instance");
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "compiled")
        })
        .collect();
    entries.sort();
    entries
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn compiled_code_is_kept_and_used() {
    let folder = folder();
    works(folder.path());
    let [entry] = entries(folder.path()).try_into().expect("one entry");
    let written = fs::metadata(&entry)
        .expect("it")
        .modified()
        .expect("a time");
    works(folder.path());
    let again = fs::metadata(&entry)
        .expect("it")
        .modified()
        .expect("a time");
    assert_eq!(written, again, "not compiled again");
}

#[test]
fn an_entry_that_was_tampered_with_is_compiled_again() {
    let folder = folder();
    works(folder.path());
    let [entry] = entries(folder.path()).try_into().expect("one entry");
    let good = fs::read(&entry).expect("it");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bad in [
        flipped,
        good[..good.len() / 2].to_vec(),
        vec![],
        vec![0; 100],
    ] {
        fs::write(&entry, bad).expect("written");
        works(folder.path());
        assert_eq!(fs::read(&entry).expect("it"), good, "written anew");
    }
}

#[test]
fn an_entry_under_another_plugins_name_is_not_loaded() {
    let folder = folder();
    works(folder.path());
    let [auditor] = entries(folder.path()).try_into().expect("one entry");
    let plugin = verified("misbehave");
    host(folder.path()).load(&plugin).expect("loads");
    let matcher = entries(folder.path())
        .into_iter()
        .find(|path| *path != auditor)
        .expect("a second entry");
    fs::copy(&auditor, &matcher).expect("copied");
    let loaded = host(folder.path()).load(&plugin).expect("loads");
    let configured = loaded.with_settings(r#"{"deed": "match-payload"}"#, Options::default());
    let answer = configured
        .matcher()
        .expect("a matcher")
        .evaluate(&packet(b"x"), Instant::now());
    assert_eq!(answer, Ok(Answer::Match { remember: None }));
    assert_ne!(
        fs::read(&auditor).expect("it"),
        fs::read(&matcher).expect("it")
    );
}

#[test]
fn another_nodes_entry_is_not_loaded() {
    let (ours, theirs) = (folder(), folder());
    works(ours.path());
    works(theirs.path());
    let [their_entry] = entries(theirs.path()).try_into().expect("one entry");
    let [our_entry] = entries(ours.path()).try_into().expect("one entry");
    let foreign = fs::read(&their_entry).expect("it");
    fs::write(&our_entry, &foreign).expect("written");
    works(ours.path());
    assert_ne!(fs::read(&our_entry).expect("it"), foreign);
}

#[test]
fn a_folder_that_others_write_to_is_refused() {
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
    assert!(matches!(
        Cache::open(folder.path()),
        Err(CacheError::Open { .. })
    ));
}

#[test]
fn a_key_that_others_can_read_is_refused_and_a_damaged_one_replaced() {
    let folder = folder();
    works(folder.path());
    let key = folder.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    assert!(matches!(
        Cache::open(folder.path()),
        Err(CacheError::Open { .. })
    ));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    fs::write(&key, b"short").expect("written");
    works(folder.path());
    assert_eq!(fs::read(&key).expect("it").len(), 32);
}

#[test]
fn what_is_not_wanted_is_removed() {
    let folder = folder();
    works(folder.path());
    let cache = Cache::open(folder.path()).expect("a folder of ours");
    cache
        .retain(&[verified("misbehave-auditor").digest()])
        .expect("removed");
    assert_eq!(entries(folder.path()).len(), 1);
    cache.retain(&[]).expect("removed");
    assert_eq!(entries(folder.path()).len(), 0);
    works(folder.path());
}
