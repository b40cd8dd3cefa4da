//! Stored rows that this build cannot read: never dropped from a view, never overwritten, gone only when somebody says so.

use crate::{
    author,
    guests::bytes,
    harness::{Context, DEADLINE, Node, Plane, endpoint, policy, reference, tier},
    unsteady::{Unsteady, unavailable},
};
use bytes::Bytes;
use palisade_plugin_host::Digest;
use palisade_proto::v1::{
    self, namespace_service_client::NamespaceServiceClient,
    store_service_client::StoreServiceClient, stream_view_response::Message as Down,
    token_service_client::TokenServiceClient,
};
use palisade_store::{EmbeddedStore, Op, Revision, Store, StoreError, Txn};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

const DENY: &str = "/r/GlobalNetworkPolicy/-/a-deny";

/// A policy that denies everything inbound.
fn deny(name: &str) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": { "name": name },
        "spec": { "selector": "all()", "order": 1, "types": ["Ingress"], "ingress": [{ "action": "Deny" }] },
    })
}

fn documents() -> [Value; 3] {
    [
        deny("a-deny"),
        policy("b-allow", "all()", &[80]),
        endpoint("e", "web-1", "eth0", "web"),
    ]
}

/// A text of a row with one more field in its spec.
fn with_unknown_field(row: &str) -> String {
    let mut row: Value = serde_json::from_str(row).expect("JSON");
    row["spec"]["later"] = json!(true);
    row.to_string()
}

fn of_later_schema(row: &str) -> String {
    let mut row: Value = serde_json::from_str(row).expect("JSON");
    row["schema"] = json!(2);
    row.to_string()
}

fn cut_off(row: &str) -> String {
    row[..row.len() - 1].to_owned()
}

/// Changes a row while no control plane runs.
async fn rewrite(plane: Plane, key: &str, change: impl FnOnce(&str) -> String) -> Plane {
    plane.server.stop().await;
    {
        let store = EmbeddedStore::open(&plane.dir.path().join("store.redb")).expect("a store");
        let row = store.get(key.as_bytes(), None).await.expect("reads");
        let row = row.expect("the row is there");
        let text = str::from_utf8(&row.value).expect("text");
        let key = Bytes::copy_from_slice(key.as_bytes());
        let txn = Txn::unconditional(vec![Op::Put(key, change(text).into())]);
        store.txn(txn).await.expect("writes");
    }
    Plane::start_in(plane.dir).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_at_start_leaves_nodes_what_they_acknowledged() {
    let plane = Plane::start().await;
    let mut context = plane.join("web-1").await;
    plane.apply(&documents()).await;
    let mut node = Node::connect(&context).await;
    node.accept().await;
    assert_eq!(rules(&node), (Some(1), Some(1)));

    let plane = rewrite(plane, DENY, with_unknown_field).await;
    context.api = plane.admin.api;
    let mut node = Node::resume(&context, node.held, node.position).await;
    assert!(matches!(node.next().await, Ok(Down::WantInventory(_))));
    node.tell_inventory().await;
    // It keeps both: what was sent instead would be a view without `a-deny`.
    node.hears_nothing().await;
    plane.server.stop().await;
}

/// Rules of `a-deny` and of `b-allow` in the view that a node holds.
fn rules(node: &Node) -> (Option<usize>, Option<usize>) {
    (node.rules("a-deny"), node.rules("b-allow"))
}

/// A control plane on a store that the test writes to as another build would.
struct Rig {
    plane: Plane,
    store: Arc<Unsteady>,
    web: Context,
}

impl Rig {
    /// With node `web-1` enrolled, and policies `a-deny` and `b-allow` for it.
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Unsteady::open(dir.path());
        let plane = Plane::start_on(dir, Arc::clone(&store) as Arc<dyn Store>).await;
        let web = plane.join("web-1").await;
        plane.apply(&documents()).await;
        Self { plane, store, web }
    }

    async fn restart(self) -> Self {
        self.plane.server.stop().await;
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let plane = Plane::start_on(self.plane.dir, store).await;
        let web = Context {
            api: plane.admin.api,
            ..self.web
        };
        Self { plane, web, ..self }
    }

    /// A node that holds both policies.
    async fn node(&self) -> Node {
        let mut node = Node::connect(&self.web).await;
        node.accept().await;
        assert_eq!(rules(&node), (Some(1), Some(1)));
        node
    }

    async fn status(&self) -> v1::GetStatusResponse {
        let status = self.plane.observe().await;
        let status = { status }.get_status(v1::GetStatusRequest {}).await;
        status.expect("a status").into_inner()
    }

    /// Changes a row as another build would, and waits until that is noticed.
    async fn spoil(&self, key: &str, change: fn(&str) -> String) -> String {
        let before = self.store.text(key).await.expect("the row is there");
        self.put(key, &change(&before)).await;
        before
    }

    async fn put(&self, key: &str, text: &str) {
        let written = self.store.set(key, Some(text.to_owned())).await;
        self.until(|status| names(status, key, written)).await;
    }

    /// Waits until the control plane says something.
    async fn until(&self, fits: impl Fn(&v1::GetStatusResponse) -> bool) {
        let found = async {
            while !fits(&self.status().await) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, found).await.expect("in time");
    }

    async fn until_read(&self) {
        self.until(|status| status.unreadable.is_empty()).await;
    }

    async fn rows(&self) -> StoreServiceClient<Channel> {
        StoreServiceClient::new(self.plane.admin.connect().await)
    }

    async fn accept(
        &self,
        keys: &[&str],
        dry_run: bool,
    ) -> Result<v1::AcceptUnreadableResponse, Status> {
        let request = v1::AcceptUnreadableRequest {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            dry_run,
        };
        let answer = self.rows().await.accept_unreadable(request).await?;
        Ok(answer.into_inner())
    }

    async fn list(&self, kind: &str) -> v1::ListResourcesResponse {
        let request = v1::ListResourcesRequest {
            kind: kind.to_owned(),
            ..v1::ListResourcesRequest::default()
        };
        let answer = self.plane.resources().await.list_resources(request).await;
        answer.expect("lists").into_inner()
    }
}

fn names(status: &v1::GetStatusResponse, key: &str, written: Revision) -> bool {
    let mut rows = status.unreadable.iter();
    rows.any(|row| row.key == key && row.revision == written.0)
}

fn keys(rows: &[v1::UnreadableRow]) -> Vec<&str> {
    rows.iter().map(|row| row.key.as_str()).collect()
}

/// Refused, with the row and both ways out.
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, key: &str) {
    let status = answer.expect_err("refused");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    for told in [key, "cannot be read", "run a build", "accept-unreadable"] {
        assert!(status.message().contains(told), "{told}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_makes_a_row_unreadable_a_restart_sends_nothing_that_lacks_it() {
    let mut rig = Rig::start().await;
    let node = rig.node().await;
    let (mut held, mut position) = (node.held, node.position);
    let deny = rig.store.text(DENY).await.expect("stored");
    let unknown = r#"{"schema":1,"apiVersion":"palisade.dev/v1","kind":"Invariant","metadata":{"name":"x"},"spec":{}}"#;
    for (key, text) in [
        (DENY, of_later_schema(&deny)),
        (DENY, cut_off(&deny)),
        (DENY, with_unknown_field(&deny)),
        ("/r/Invariant/-/x", unknown.to_owned()),
        ("/r/Tier/-/default", "{}".to_owned()),
    ] {
        let before = rig.store.text(key).await;
        rig.put(key, &text).await;
        rig = rig.restart().await;
        assert_eq!(keys(&rig.status().await.unreadable), [key]);
        let mut node = Node::resume(&rig.web, held, position).await;
        assert!(matches!(node.next().await, Ok(Down::WantInventory(_))));
        node.tell_inventory().await;
        node.hears_nothing().await;
        assert_eq!(rules(&node), (Some(1), Some(1)));

        // As a build that reads it would find it: the node is told that it has what it should have.
        rig.store.set(key, before).await;
        assert!(matches!(node.next().await, Ok(Down::Unchanged(_))), "{key}");
        (held, position) = (node.held, node.position);
    }
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_its_reason_and_the_fix_are_said_everywhere() {
    let rig = Rig::start().await;
    let _node = rig.node().await;
    assert_eq!(rig.plane.page("/readyz").await, (200, "ready\n".to_owned()));
    let mut staged = policy("s", "all()", &[80]);
    staged["kind"] = json!("StagedGlobalNetworkPolicy");
    rig.plane.apply(&[staged]).await;
    let written = rig.spoil(DENY, with_unknown_field).await;

    let status = rig.status().await;
    assert_eq!((status.unreadable.len(), status.nodes_frozen), (1, 1));
    assert_eq!(status.nodes_converged, 0);
    let row = &status.unreadable[0];
    let fix = format!("palisadectl store accept-unreadable {DENY}");
    assert!(row.reason.contains("spec.later") && row.fix.contains(&fix));
    assert_eq!(row.freezes, "all nodes");
    assert!(row.value.is_empty(), "its text is for administrators");
    let node = rig.plane.status("web-1").await;
    assert_eq!(node.desired, None, "nobody knows");
    let condition = &node.conditions[0];
    assert_eq!(
        (condition.r#type.as_str(), condition.reason.as_str()),
        ("Frozen", "UnreadableRow")
    );
    let (code, ready) = rig.plane.page("/readyz").await;
    assert_eq!(code, 503);
    for text in [&condition.message, &ready] {
        for told in [DENY, "spec.later", &fix] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }
    let explain = v1::ExplainRequest {
        node: "web-1".to_owned(),
        in_interface: "eth0".to_owned(),
        protocol: 6,
        source: vec![10, 0, 0, 9],
        source_port: 40000,
        destination: vec![10, 0, 0, 1],
        destination_port: 80,
        ..v1::ExplainRequest::default()
    };
    let explained = rig.plane.analysis().await.explain(explain).await;
    let explained = explained.expect("explains").into_inner();
    assert_eq!(explained.verdict(), v1::Verdict::Drop, "as acknowledged");
    // Without the row, what is staged would seem to do something else than it would.
    assert_eq!(explained.staged, None);
    for told in ["is frozen", "staged policies"] {
        let caveats = &explained.caveats;
        let names = |caveat: &String| caveat.contains(told) && caveat.contains(DENY);
        assert!(caveats.iter().any(names), "{told}: {caveats:?}");
    }
    let (_, metrics) = rig.plane.page("/metrics").await;
    for line in ["palisade_unreadable_rows 1", "palisade_nodes_frozen 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }

    rig.store.set(DENY, Some(written)).await;
    rig.until_read().await;
    assert_eq!(rig.plane.page("/readyz").await.0, 200);
    assert!(rig.plane.status("web-1").await.conditions.is_empty());
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_admitted_while_nodes_are_frozen_is_sent_when_they_are_free() {
    let rig = Rig::start().await;
    let mut node = rig.node().await;
    let before = rig.plane.status("web-1").await.compiled;
    let deny = rig.spoil(DENY, with_unknown_field).await;
    let written = rig.plane.try_apply(&[policy("c", "all()", &[443])]).await;
    let written = written.expect("the API serves").revision;
    node.hears_nothing().await;
    let status = rig.plane.status("web-1").await;
    assert!(status.compiled == before && status.compiled < written);

    rig.store.set(DENY, Some(deny)).await;
    node.accept().await;
    assert_eq!(rules(&node), (Some(1), Some(1)));
    assert_eq!(node.rules("c"), Some(1));
    rig.plane.until("web-1", |n| n.compiled >= written).await;
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compiler_that_starts_again_drops_nothing() {
    let oldest = Revision(1);
    for (error, failing) in [
        (StoreError::Compacted { oldest }, 0),
        (unavailable(), 0),
        (unavailable(), 2),
    ] {
        let rig = Rig::start().await;
        let mut node = rig.node().await;
        rig.spoil(DENY, with_unknown_field).await;
        let watches = rig.store.watches();
        rig.store.cut(error, failing);
        timeout(DEADLINE, rig.store.watched_since(watches))
            .await
            .expect("in time");
        let written = rig.plane.try_apply(&[policy("c", "all()", &[443])]).await;
        written.expect("the API serves");
        node.hears_nothing().await;
        // A node that connects with an older view, or with none, gets the last that was whole.
        let mut fresh = Node::connect(&rig.web).await;
        fresh.accept().await;
        assert_eq!(rules(&fresh), (Some(1), Some(1)));
        rig.plane.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_holds_nothing_is_sent_nothing_after_a_restart() {
    let rig = Rig::start().await;
    rig.spoil(DENY, with_unknown_field).await;
    let rig = rig.restart().await;
    let status = rig.plane.status("web-1").await;
    assert_eq!(status.conditions[0].r#type, "Frozen", "listed unseen");
    let mut node = Node::connect(&rig.web).await;
    node.hears_nothing().await;
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_concerns_one_node_freezes_that_one() {
    let rig = Rig::start().await;
    let db = rig.plane.join("db-1").await;
    let mut web = rig.node().await;
    let mut other = Node::connect(&db).await;
    other.accept().await;
    for key in ["/r/Node/-/web-1", "/r/FelixConfiguration/-/node.web-1"] {
        let before = rig.store.text(key).await;
        rig.put(key, r#"{"schema":2}"#).await;
        assert_eq!(rig.status().await.nodes_frozen, 1);
        let change = [
            policy("c", "all()", &[443]),
            endpoint("d", "db-1", "eth0", "db"),
        ];
        let written = rig.plane.try_apply(&change).await.expect("applies");
        other.accept().await;
        rig.plane
            .until("db-1", |n| n.compiled >= written.revision)
            .await;
        web.hears_nothing().await;
        assert!(rig.plane.status("web-1").await.compiled < written.revision);
        rig.store.set(key, before).await;
        web.accept().await;
        assert_eq!(web.rules("c"), Some(1));
        for (kind, name) in [("GlobalNetworkPolicy", "c"), ("HostEndpoint", "d")] {
            rig.plane.delete(kind, name).await;
            other.accept().await;
        }
        web.accept().await;
    }
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_over_a_row_that_cannot_be_read() {
    let rig = Rig::start().await;
    rig.spoil(DENY, with_unknown_field).await;
    let stands = rig.store.text(DENY).await;
    let mut resources = rig.plane.resources().await;
    let json = || deny("a-deny").to_string().into_bytes();
    for dry_run in [false, true] {
        let create = v1::CreateResourceRequest {
            json: json(),
            dry_run,
        };
        assert_refused(resources.create_resource(create).await, DENY);
        let mut versioned = deny("a-deny");
        versioned["metadata"]["resourceVersion"] = json!("1");
        let json = versioned.to_string().into_bytes();
        let update = v1::UpdateResourceRequest { json, dry_run };
        assert_refused(resources.update_resource(update).await, DENY);
        let delete = v1::DeleteResourceRequest {
            r#ref: reference("GlobalNetworkPolicy", "a-deny"),
            resource_version: 1,
            dry_run,
        };
        assert_refused(resources.delete_resource(delete).await, DENY);
    }
    let apply = [deny("a-deny"), policy("c", "all()", &[1])];
    assert_refused(rig.plane.try_apply(&apply).await, DENY);
    // Another group says nothing else: this was how extension fields got lost.
    let mut in_ours = deny("a-deny");
    in_ours["apiVersion"] = json!("palisade.dev/v1");
    assert_refused(rig.plane.try_apply(&[in_ours]).await, DENY);
    let get = v1::GetResourceRequest {
        r#ref: reference("GlobalNetworkPolicy", "a-deny"),
    };
    assert_refused(resources.get_resource(get).await, DENY);
    assert_eq!(rig.store.text(DENY).await, stands);
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_other_resources_are_listed_read_and_written() {
    let rig = Rig::start().await;
    let profile = |name: &str| {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "Profile",
            "metadata": { "name": name }, "spec": { "labelsToApply": { "a": "b" } },
        })
    };
    rig.plane
        .apply(&[profile("kns.red"), profile("kns.blue")])
        .await;
    rig.plane
        .apply(&[profile("ksa.red.app"), profile("ksa.red.web")])
        .await;
    for key in ["/r/Profile/-/kns.red", "/r/Profile/-/ksa.red.web"] {
        rig.spoil(key, with_unknown_field).await;
    }
    rig.spoil("/r/HostEndpoint/-/e", with_unknown_field).await;

    let mut namespaces = NamespaceServiceClient::new(rig.plane.admin.connect().await);
    let listed = namespaces
        .list_namespaces(v1::ListNamespacesRequest {})
        .await;
    let listed = listed.expect("lists").into_inner();
    assert_eq!(listed.namespaces.len(), 1);
    assert_eq!(keys(&listed.unreadable), ["/r/Profile/-/kns.red"]);
    let listed = namespaces
        .list_identities(v1::ListIdentitiesRequest::default())
        .await;
    let listed = listed.expect("lists").into_inner();
    assert_eq!(listed.identities.len(), 1);
    assert_eq!(keys(&listed.unreadable), ["/r/Profile/-/ksa.red.web"]);
    let delete = v1::DeleteNamespaceRequest {
        name: "red".to_owned(),
    };
    let refused = namespaces
        .delete_namespace(delete)
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("2 rows cannot be read"));
    let put = v1::PutNamespaceRequest {
        namespace: Some(v1::Namespace {
            name: "red".to_owned(),
            ..v1::Namespace::default()
        }),
    };
    assert_refused(namespaces.put_namespace(put).await, "kns.red");
    let put = v1::PutNamespaceRequest {
        namespace: Some(v1::Namespace {
            name: "green".to_owned(),
            ..v1::Namespace::default()
        }),
    };
    namespaces.put_namespace(put).await.expect("another one");

    let listed = rig.list("Profile").await;
    let profiles = listed
        .resources
        .iter()
        .map(|r| r.r#ref.clone().expect("a name").name);
    let profiles: Vec<_> = profiles.filter(|name| name.starts_with('k')).collect();
    assert_eq!(profiles, ["kns.blue", "kns.green", "ksa.red.app"]);
    assert_eq!(listed.unreadable.len(), 2);
    let listed = rig.list("").await;
    assert_eq!(listed.unreadable.len(), 3);
    assert_eq!(rig.list("Tier").await.unreadable.len(), 0);
    // Profiles, `*` endpoints and untracked policy are judged together with what is stored.
    let mut untracked = policy("u", "all()", &[]);
    untracked["spec"]["doNotTrack"] = json!(true);
    untracked["spec"]["applyOnForward"] = json!(true);
    for document in [profile("p"), untracked, tier("edge")] {
        rig.plane.try_apply(&[document]).await.expect("applies");
    }
    // A tier stays while a policy may belong to it.
    rig.spoil(DENY, with_unknown_field).await;
    assert_refused(rig.plane.try_delete("Tier", "edge").await, DENY);
    let selector = "all()".to_owned();
    let picked = rig
        .plane
        .analysis()
        .await
        .select(v1::SelectRequest { selector })
        .await;
    assert_eq!(picked.expect("picks").into_inner().unreadable.len(), 3);
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_and_says_what_it_cannot_show() {
    let rig = Rig::start().await;
    let deny = rig.spoil(DENY, with_unknown_field).await;
    let request = v1::WatchResourcesRequest {
        kind: "GlobalNetworkPolicy".to_owned(),
        ..v1::WatchResourcesRequest::default()
    };
    let watch = rig.plane.resources().await.watch_resources(request).await;
    let mut watch = watch.expect("watches").into_inner();
    let mut next = async || {
        let message = watch.message().await.expect("goes on").expect("goes on");
        let name = message
            .resource
            .clone()
            .and_then(|r| r.r#ref)
            .map(|r| r.name);
        (
            message.r#type(),
            name.unwrap_or_default(),
            message.unreadable,
        )
    };
    let (kind, name, row) = next().await;
    assert_eq!((kind, &*name), (v1::WatchEventType::Unreadable, "a-deny"));
    assert_eq!(row.expect("a row").key, DENY);
    assert_eq!(next().await.1, "b-allow");
    assert_eq!(next().await.0, v1::WatchEventType::Bookmark);
    rig.store.set(DENY, Some(deny)).await;
    assert_eq!(next().await.0, v1::WatchEventType::Modified);
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_cannot_be_read_are_listed_kept_and_good_for_nothing() {
    let rig = Rig::start().await;
    let secret = rig.plane.token("db-1").await;
    rig.plane.token("db-2").await;
    let id = secret.split('.').nth(1).expect("an id").to_owned();
    let key = format!("/t/{id}");
    let mut row: Value =
        serde_json::from_str(&rig.store.text(&key).await.expect("stored")).expect("JSON");
    row["usesLeft"] = json!(3);
    rig.put(&key, &row.to_string()).await;
    assert_eq!(rig.status().await.nodes_frozen, 0, "no view comes from it");

    let mut tokens = TokenServiceClient::new(rig.plane.admin.connect().await);
    let listed = tokens.list_tokens(v1::ListTokensRequest {}).await;
    let listed = listed.expect("lists").into_inner();
    assert_eq!(listed.tokens.len(), 2);
    assert_eq!(keys(&listed.unreadable), [&*key]);
    let delete = v1::DeleteTokenRequest { id };
    assert_refused(tokens.delete_token(delete.clone()).await, &key);
    let refused = rig.plane.admin.enroll(&secret, "db-1").await;
    let Err(refused) = refused else {
        panic!("it is good for nothing");
    };
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        !refused.message().contains(&key),
        "a stranger learns nothing"
    );
    let answer = rig.accept(&[&key], false).await.expect("accepts");
    assert_eq!(answer.nodes, Vec::<String>::new());
    let gone = tokens.delete_token(delete).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
    rig.until_read().await;
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_components_and_plugins_that_cannot_be_read_stop_nobody_else() {
    let rig = Rig::start().await;
    let (bad, good) = (b"of a later build", bytes("redact"));
    let digest = Digest::of(bad);
    let hex = digest.to_string();
    let key = format!("/p/{}", hex.trim_start_matches("sha256:"));
    rig.put(&key, r#"{"schema":2,"size":16}"#).await;
    let stands = rig.store.text(&key).await;

    let chunks = bad.chunks(author::CHUNK);
    let again = author::upload(&rig.plane.admin, digest, bad.len(), chunks).await;
    assert_refused(again, &key);
    assert_refused(author::fetch(&rig.plane.admin, digest, 0).await, &key);
    let other = author::push(&rig.plane, &good).await;
    assert_eq!(other, Digest::of(&good));
    let plugin = "/r/Plugin/-/later";
    rig.put(plugin, r#"{"schema":2}"#).await;
    let listed = author::plugins(&rig.plane.admin)
        .await
        .list_plugins(v1::ListPluginsRequest {})
        .await;
    let listed = listed.expect("lists").into_inner();
    assert_eq!(listed.components.len(), 1);
    assert_eq!(keys(&listed.unreadable), [&*key, plugin]);
    // A rule that asks it cannot be judged, which is not as if it were absent.
    let mut asks = deny("asks");
    asks["apiVersion"] = json!("palisade.dev/v1");
    asks["spec"]["ingress"][0]["plugin"] = json!({ "name": "later" });
    assert_refused(rig.plane.try_apply(&[asks]).await, plugin);
    assert_eq!(rig.store.text(&key).await, stands);
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_accepts_the_loss_and_the_bytes_are_kept() {
    let rig = Rig::start().await;
    let mut node = rig.node().await;
    rig.spoil(DENY, with_unknown_field).await;
    let stands = rig.store.text(DENY).await.expect("stored");

    let dry = rig.accept(&[DENY], true).await.expect("says what it costs");
    assert_eq!(
        (dry.nodes.as_slice(), dry.revision),
        (&["web-1".to_owned()][..], 0)
    );
    node.hears_nothing().await;
    for (key, code) in [
        ("/r/Tier/-/default", Code::FailedPrecondition),
        ("/r/Tier/-/nothing", Code::NotFound),
    ] {
        let refused = rig.accept(&[DENY, key], false).await.expect_err("refused");
        assert_eq!(refused.code(), code);
    }
    let viewer = author::user(&rig.plane, palisade_identity::Role::Viewer);
    let mut rows = StoreServiceClient::new(viewer.connect().await);
    let request = v1::AcceptUnreadableRequest {
        keys: vec![DENY.to_owned()],
        dry_run: false,
    };
    let refused = rows.accept_unreadable(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(rig.store.text(DENY).await.as_ref(), Some(&stands));

    let done = rig.accept(&[DENY], false).await.expect("accepts");
    assert!(done.revision > 0 && done.remaining.is_empty());
    node.accept().await;
    assert_eq!(rules(&node), (None, Some(1)), "as somebody said");
    rig.until_read().await;
    assert_eq!(rig.plane.page("/readyz").await.0, 200);
    let listed = rig
        .rows()
        .await
        .list_unreadable(v1::ListUnreadableRequest {})
        .await;
    let listed = listed.expect("lists").into_inner();
    assert!(listed.rows.is_empty());
    let [kept] = listed.accepted.as_slice() else {
        panic!("one")
    };
    let row = kept.row.as_ref().expect("a row");
    assert_eq!(
        (row.key.as_str(), row.value.as_slice()),
        (DENY, stands.as_bytes())
    );
    assert!(row.reason.contains("spec.later"));
    assert!(kept.accepted_by.contains("admin") && kept.accepted > 0);

    // It outlives a restart, and a row that is written again counts again.
    let rig = rig.restart().await;
    assert!(rig.status().await.unreadable.is_empty());
    rig.put(DENY, &stands).await;
    assert_eq!(rig.store.rows("/unreadable/row/").await.len(), 1);
    rig.accept(&[DENY], false).await.expect("accepts");
    assert_eq!(
        rig.store.rows("/unreadable/row/").await.len(),
        2,
        "each is kept"
    );
    rig.plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_schema_number_are_of_the_first() {
    let rig = Rig::start().await;
    let text = rig.store.text(DENY).await.expect("stored");
    let mut row: Value = serde_json::from_str(&text).expect("JSON");
    let fields = row.as_object_mut().expect("a map");
    assert_eq!(fields.remove("schema"), Some(json!(1)));
    rig.store.set(DENY, Some(row.to_string())).await;
    let rig = rig.restart().await;
    assert!(rig.status().await.unreadable.is_empty());
    let shown = rig.list("GlobalNetworkPolicy").await.resources;
    let shown: Value = serde_json::from_slice(&shown[0].json).expect("JSON");
    assert_eq!(shown.get("schema"), None, "it is no part of the resource");
    let applied = rig.plane.apply(&[deny("a-deny")]).await;
    assert_eq!(applied.resources[0].outcome(), v1::ApplyOutcome::Unchanged);
    rig.plane.server.stop().await;
}
