//! What is no plugin is refused at the door, with the reason and what to do about it, and nothing of it is stored.

use crate::{
    author::{CHUNK, fix, stored, upload},
    guests::bytes,
    harness::Plane,
};
use palisade_plugin_host::{Digest, MAX_SIZE};
use tonic::{Code, Status};

/// Sends these bytes in order, under this header.
async fn refused<'a>(
    digest: Digest,
    size: usize,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Status {
    let plane = Plane::start().await;
    let outcome = upload(&plane.admin, digest, size, chunks).await;
    let status = outcome.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(stored(&plane).await, []);
    plane.server.stop().await;
    status
}

/// Sends bytes as they should be sent.
async fn refused_as_a_whole(bytes: &[u8]) -> Status {
    refused(Digest::of(bytes), bytes.len(), bytes.chunks(CHUNK)).await
}

#[track_caller]
fn says(status: &Status, reason: &str, remedy: &str) {
    let fix = fix(status);
    assert!(status.message().contains(reason), "{}", status.message());
    assert!(fix.contains(remedy), "{fix}");
    // Who does not read details reads it too.
    assert!(status.message().contains(&fix), "{}", status.message());
}

fn wat(more: &str, exports: &[&str]) -> Vec<u8> {
    let manifest = r#"(@custom "palisade:manifest" "name: wat\nversion: 0.1.0\n")"#;
    let exports = exports
        .iter()
        .map(|name| format!(r#"(export "{name}" (instance $empty))"#));
    let exports = exports.collect::<Vec<_>>().join(" ");
    let text = format!("(component {manifest} {more} (instance $empty) {exports})");
    wat::parse_str(&text).expect("a component")
}

const MATCHER: [&str; 2] = [
    "palisade:plugin/settings@0.1.0",
    "palisade:plugin/matcher@0.1.0",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_import() {
    let import = r#"(import "wasi:filesystem/preopens@0.2.6" (instance))"#;
    let status = refused_as_a_whole(&wat(import, &MATCHER)).await;
    says(&status, "imports `wasi:filesystem/preopens@0.2.6`", "files");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_world() {
    let status = refused_as_a_whole(&wat("", &["wasi:http/incoming-handler@0.2.0"])).await;
    says(&status, "wasi:http/incoming-handler", "palisade");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_component() {
    let status = refused_as_a_whole(b"no WebAssembly").await;
    says(&status, "not WebAssembly", ".wasm");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bytes_announced_or_sent() {
    let bytes = bytes("dns-suffix");
    let digest = Digest::of(&bytes);
    let announced = refused(digest, MAX_SIZE + 1, bytes.chunks(CHUNK)).await;
    says(&announced, &MAX_SIZE.to_string(), "opt-level");
    let sent = refused(digest, bytes.len() - 1, bytes.chunks(CHUNK)).await;
    says(&sent, "more than", "upload again");
    let at_once = refused(digest, CHUNK + 1, [&[0; CHUNK + 1][..]]).await;
    says(&at_once, "too long", "262144");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_on_the_way_or_before() {
    let bytes = bytes("dns-suffix");
    let half = &bytes[..bytes.len() / 2];
    let on_the_way = refused(Digest::of(&bytes), bytes.len(), half.chunks(CHUNK)).await;
    says(&on_the_way, "cut off", "upload again");
    let before = refused_as_a_whole(half).await;
    says(&before, "cut off", "build");
}

#[tokio::test(flavor = "multi_thread")]
async fn altered() {
    let bytes = bytes("dns-suffix");
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    let digest = Digest::of(&bytes);
    let status = refused(digest, altered.len(), altered.chunks(CHUNK)).await;
    says(&status, &digest.to_string(), "again");
}
