//! Bytes that are no plugin: refused before any of their code is compiled, with the reason and what to do about it.

use palisade_plugin_host::{Digest, Kind, Refusal, verify};

use crate::guests::{HOST, bytes};

const MANIFEST: &str = r#"(@custom "palisade:manifest" "name: wat\nversion: 0.1.0\n")"#;

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A component that exports settings and a matcher of no type in particular, and `more`.
fn matcher(more: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component {MANIFEST} {more}
            (instance $empty)
            (export "palisade:plugin/settings@0.1.0" (instance $empty))
            (export "palisade:plugin/matcher@0.1.0" (instance $empty)))"#
    ))
}

#[track_caller]
fn refused(bytes: Vec<u8>) -> Refusal {
    let refusal = verify(bytes, None).expect_err("refused");
    assert!(!refusal.fix().is_empty());
    refusal
}

#[test]
fn what_is_built_here_is_accepted() {
    for package in ["dns-suffix", "redact", "misbehave", "misbehave-auditor"] {
        let bytes = bytes(package);
        let verified = verify(bytes.clone(), Some(Digest::of(&bytes))).expect("accepted");
        assert_eq!(verified.manifest().name, package);
    }
    let kinds = verify(bytes("redact"), None).expect("accepted").kinds();
    assert!(kinds.has(Kind::Auditor) && !kinds.has(Kind::Matcher));
}

#[test]
fn another_digest_than_named_is_refused() {
    let mut bytes = bytes("dns-suffix");
    let digest = Digest::of(&bytes);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let refusal = verify(bytes, Some(digest)).expect_err("refused");
    assert!(matches!(refusal, Refusal::Altered { expected, .. } if expected == digest));
}

#[test]
fn a_component_cut_off_anywhere_is_refused() {
    let bytes = bytes("misbehave-auditor");
    let cuts = (0..8)
        .chain((8..bytes.len()).step_by(997))
        .chain([bytes.len() - 1]);
    for cut in cuts {
        let refusal = refused(bytes[..cut].to_vec());
        // At the end of a section it is whole by chance, and then lacks what came after.
        let told = matches!(
            refusal,
            Refusal::Truncated { .. } | Refusal::OtherWorld { .. } | Refusal::Manifests { .. }
        );
        assert!(told, "{cut}: {refusal}");
    }
    assert!(matches!(
        refused(bytes[..1000].to_vec()),
        Refusal::Truncated { .. }
    ));
}

#[test]
fn altered_bytes_are_refused_or_harmless_and_never_a_panic() {
    let original = bytes("misbehave-auditor");
    for at in (8..original.len()).step_by(1013) {
        let mut bytes = original.clone();
        bytes[at] ^= 0x55;
        if let Ok(verified) = verify(bytes, None) {
            let _ = verified.manifest();
        }
    }
}

#[test]
fn too_many_bytes_are_refused_unread() {
    let size = palisade_plugin_host::MAX_SIZE + 1;
    assert_eq!(refused(vec![0; size]), Refusal::TooLarge { size });
}

#[test]
fn what_is_no_component_is_refused() {
    assert_eq!(
        refused(b"#!/bin/sh\necho\n".to_vec()),
        Refusal::NotWebAssembly
    );
    let module = refused(wat("(module)"));
    assert_eq!(module, Refusal::CoreModule);
    assert!(module.fix().contains("wasm32-wasip2"));
}

#[test]
fn other_worlds_are_refused() {
    assert!(matches!(
        refused(wat("(component)")),
        Refusal::OtherWorld { .. }
    ));
    let other = r#"(component (instance $empty) (export "wasi:http/incoming-handler@0.2.0" (instance $empty)))"#;
    let refusal = refused(wat(other));
    assert!(
        refusal.to_string().contains("wasi:http/incoming-handler"),
        "{refusal}"
    );
    let resolver = r#"(component (instance $empty) (export "palisade:plugin/resolver@0.1.0" (instance $empty)))"#;
    assert_eq!(refused(wat(resolver)), Refusal::Resolver);
}

#[test]
fn other_versions_are_refused_with_both_named() {
    let newer = r#"(component (instance $empty) (export "palisade:plugin/matcher@0.2.0" (instance $empty)))"#;
    let refusal = refused(wat(newer)).to_string();
    assert!(
        refusal.contains("0.2.0") && refusal.contains("0.1.0"),
        "{refusal}"
    );
    let import = matcher(r#"(import "palisade:plugin/host@0.3.0" (instance))"#);
    assert!(matches!(refused(import), Refusal::OtherVersion { .. }));
}

#[test]
fn a_plugin_without_settings_is_refused() {
    let without = r#"(component (instance $empty) (export "palisade:plugin/matcher@0.1.0" (instance $empty)))"#;
    assert_eq!(refused(wat(without)), Refusal::NoSettings);
}

#[test]
fn imports_that_plugins_do_not_have_are_refused_by_name_with_the_fix() {
    for (import, fix) in [
        ("wasi:filesystem/preopens@0.2.6", "files"),
        ("wasi:sockets/tcp@0.2.0", "network"),
        ("wasi:http/outgoing-handler@0.2.0", "network"),
        ("wasi:cli/environment@0.3.0", "0.2"),
        ("palisade:plugin/sinks@0.1.0", "auditor"),
        ("acme:tool/thing@1.0.0", "palisade.wit"),
        ("thing", "palisade.wit"),
    ] {
        let refusal = refused(matcher(&format!(r#"(import "{import}" (instance))"#)));
        assert_eq!(
            refusal,
            Refusal::UnknownImport {
                interface: import.to_owned()
            }
        );
        assert!(refusal.fix().contains(fix), "{import}: {}", refusal.fix());
    }
}

#[test]
fn components_composed_of_others_are_refused() {
    let composed = matcher("(component (core module))");
    assert_eq!(refused(composed), Refusal::Composed);
}

#[test]
fn one_manifest_that_fits_is_needed() {
    let with = |sections: &str| {
        wat(&format!(
            r#"(component {sections} (instance $empty)
                (export "palisade:plugin/settings@0.1.0" (instance $empty))
                (export "palisade:plugin/matcher@0.1.0" (instance $empty)))"#
        ))
    };
    assert_eq!(refused(with("")), Refusal::Manifests { count: 0 });
    assert_eq!(
        refused(with(&MANIFEST.repeat(2))),
        Refusal::Manifests { count: 2 }
    );
    let bad = r#"(@custom "palisade:manifest" "name: [")"#;
    assert!(matches!(refused(with(bad)), Refusal::Manifest { .. }));
}

#[test]
fn a_limit_of_nothing_is_refused_with_its_field() {
    for field in ["fuel", "memoryMiB"] {
        let section = format!(
            r#"(@custom "palisade:manifest" "name: x\nversion: '1'\nlimits: {{{field}: 0}}")"#
        );
        let component = wat(&format!(
            r#"(component {section} (instance $empty)
                (export "palisade:plugin/settings@0.1.0" (instance $empty))
                (export "palisade:plugin/matcher@0.1.0" (instance $empty)))"#
        ));
        let refusal = refused(component).to_string();
        assert!(
            refusal.contains(&format!("limits.{field} is 0")),
            "{refusal}"
        );
    }
}

#[test]
fn features_that_are_off_are_refused() {
    for module in ["(memory i64 1)", "(memory 1 1 shared)", "(tag)"] {
        let refusal = refused(matcher(&format!("(core module {module})")));
        assert!(
            matches!(refusal, Refusal::Malformed { .. }),
            "{module}: {refusal}"
        );
    }
}

#[test]
fn names_that_fit_and_types_that_do_not_are_refused_when_loaded() {
    let verified = verify(matcher(""), None).expect("its names fit");
    let refusal = HOST.load(&verified).expect_err("its types do not");
    assert!(matches!(refusal, Refusal::Types { .. }), "{refusal}");
}

#[test]
fn a_function_that_this_host_does_not_have_is_refused_by_name() {
    let import = r#"(import "palisade:plugin/host@0.1.0" (instance (export "teleport" (func))))"#;
    let verified = verify(matcher(import), None).expect("its names fit");
    let refusal = HOST.load(&verified).expect_err("no such function");
    assert!(refusal.to_string().contains("teleport"), "{refusal}");
}
