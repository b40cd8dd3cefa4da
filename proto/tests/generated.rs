//! The committed code under `src/generated` is what the `.proto` files say. `UPDATE_EXPECT=1 cargo test -p
//! palisade-proto` rewrites it; no protoc is needed.

use std::{fs, path::Path};

const FILES: [&str; 11] = [
    "palisade/v1/resource.proto",
    "palisade/v1/policy.proto",
    "palisade/v1/sync.proto",
    "palisade/v1/enrollment.proto",
    "palisade/v1/token.proto",
    "palisade/v1/observe.proto",
    "palisade/v1/analysis.proto",
    "palisade/v1/namespace.proto",
    "palisade/v1/plugin.proto",
    "palisade/v1/flow.proto",
    "palisade/v1/store.proto",
];

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("temporary directory");
    let descriptors = protox::compile(FILES, [root]).expect("the proto files compile");
    fs::write(
        out.path().join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )
    .expect("descriptors written");
    let mut prost = prost_build::Config::new();
    prost.bytes([
        ".palisade.v1.Put.body",
        ".palisade.v1.Chunk.data",
        ".palisade.v1.UploadPluginRequest.chunk",
        ".palisade.v1.FetchPluginResponse.chunk",
    ]);
    prost.btree_map([".palisade.v1"]);
    tonic_prost_build::configure()
        .out_dir(out.path())
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .emit_package(true)
        .compile_fds_with_config(descriptors, prost)
        .expect("code is generated");

    let committed = root.join("src/generated");
    for name in ["palisade.v1.rs", "google.rpc.rs", "descriptors.bin"] {
        let fresh = fs::read(out.path().join(name)).expect("generated file");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::create_dir_all(&committed).expect("directory");
            fs::write(committed.join(name), &fresh).expect("written");
        }
        let stored = fs::read(committed.join(name)).unwrap_or_default();
        assert!(
            fresh == stored,
            "src/generated/{name} is stale: run UPDATE_EXPECT=1 cargo test -p palisade-proto"
        );
    }
}
