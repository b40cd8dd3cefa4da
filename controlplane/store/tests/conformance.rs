//! The conformance suite on the embedded engine.

use std::sync::Arc;

use palisade_store::conformance::{agrees_with_the_model, steps};
use palisade_store::{EmbeddedStore, Retention, Store};
use proptest::prelude::*;
use redb::backends::InMemoryBackend;

async fn on_disk() -> (Arc<dyn Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&dir.path().join("store.redb")).expect("opens");
    (Arc::new(store), dir)
}

palisade_store::conformance_tests!(on_disk);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_histories_agree_with_the_model(steps in steps(60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let disk = Arc::new(InMemoryBackend::new());
            let store = EmbeddedStore::open_on("memory".as_ref(), disk, Retention::default());
            agrees_with_the_model(Arc::new(store.expect("opens")), steps).await;
        });
    }
}
