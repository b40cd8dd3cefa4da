//! Writing and reading resources: what is taken, what is refused, and how.

use crate::harness::{Plane, endpoint, policy, reference, tier};
use palisade_proto::{google::rpc, v1};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

fn json_of(resource: Option<v1::Resource>) -> Value {
    serde_json::from_slice(&resource.expect("a resource").json).expect("JSON")
}

fn outcomes(answer: &v1::ApplyResourcesResponse) -> Vec<v1::ApplyOutcome> {
    answer
        .resources
        .iter()
        .map(v1::AppliedResource::outcome)
        .collect()
}

fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let bad = details
        .bad_request()
        .into_iter()
        .flat_map(|b| b.field_violations.iter().map(|v| v.field.clone()));
    let unmet = details
        .precondition_failure()
        .into_iter()
        .flat_map(|p| p.violations.iter().map(|v| v.subject.clone()));
    bad.chain(unmet).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_replaces_and_leaves_alone() {
    use v1::ApplyOutcome::{Configured, Created, Unchanged};
    let plane = Plane::start().await;
    let first = plane
        .apply(&[policy("a", "all()", &[1]), policy("b", "all()", &[1])])
        .await;
    assert_eq!(outcomes(&first), [Created, Created]);
    let a = json_of(first.resources[0].resource.clone());
    assert_eq!(a["metadata"]["resourceVersion"], first.revision.to_string());
    assert_eq!(a["metadata"]["generation"], 1);
    assert_eq!(a["spec"]["tier"], "default", "defaults are written back");

    let second = plane
        .apply(&[policy("a", "all()", &[1]), policy("b", "all()", &[1, 2])])
        .await;
    assert_eq!(outcomes(&second), [Unchanged, Configured]);
    assert_eq!(json_of(second.resources[0].resource.clone()), a);
    let b = json_of(second.resources[1].resource.clone());
    assert_eq!(b["metadata"]["generation"], 2);
    assert_eq!(
        b["metadata"]["uid"],
        json_of(first.resources[1].resource.clone())["metadata"]["uid"]
    );

    let third = plane.apply(&[policy("b", "all()", &[1, 2])]).await;
    assert_eq!(
        (outcomes(&third), third.revision),
        (vec![Unchanged], second.revision),
        "nothing was written"
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_compared_and_swapped() {
    let plane = Plane::start().await;
    let mut resources = plane.resources().await;
    let create = |document| v1::CreateResourceRequest {
        json: bytes(document),
        dry_run: false,
    };
    let update = |document| v1::UpdateResourceRequest {
        json: bytes(document),
        dry_run: false,
    };
    let document = policy("a", "all()", &[1]);
    let created = resources
        .create_resource(create(&document))
        .await
        .expect("creates")
        .into_inner();
    let again = resources
        .create_resource(create(&document))
        .await
        .expect_err("exists");
    assert_eq!(again.code(), Code::AlreadyExists);

    let mut mine = json_of(created.resource);
    let unversioned = resources
        .update_resource(update(&document))
        .await
        .expect_err("no version");
    assert_eq!(
        (unversioned.code(), fields(&unversioned)),
        (
            Code::InvalidArgument,
            vec!["metadata.resourceVersion".to_owned()]
        )
    );
    mine["spec"]["order"] = json!(5);
    let newer = resources
        .update_resource(update(&mine))
        .await
        .expect("replaces")
        .into_inner();
    let stale = resources
        .update_resource(update(&mine))
        .await
        .expect_err("stale");
    assert_eq!(stale.code(), Code::Aborted);
    let info = stale
        .get_error_details()
        .error_info()
        .cloned()
        .expect("details");
    let current = newer
        .resource
        .expect("a resource")
        .resource_version
        .to_string();
    assert_eq!(
        (
            info.reason.as_str(),
            &info.metadata["current_resource_version"]
        ),
        ("CONFLICT", &current)
    );
    let stale = plane
        .try_apply(std::slice::from_ref(&mine))
        .await
        .expect_err("stale");
    assert_eq!(stale.code(), Code::Aborted);

    let delete = |version| v1::DeleteResourceRequest {
        r#ref: reference("GlobalNetworkPolicy", "a"),
        resource_version: version,
        dry_run: false,
    };
    assert_eq!(
        resources
            .delete_resource(delete(1))
            .await
            .expect_err("stale")
            .code(),
        Code::Aborted
    );
    let deleted = resources
        .delete_resource(delete(0))
        .await
        .expect("deletes")
        .into_inner();
    assert_eq!(json_of(deleted.resource)["spec"]["order"], 5);
    assert_eq!(
        resources
            .delete_resource(delete(0))
            .await
            .expect_err("gone")
            .code(),
        Code::NotFound
    );
    assert_eq!(
        resources
            .update_resource(update(&mine))
            .await
            .expect_err("gone")
            .code(),
        Code::NotFound
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_judges_and_writes_nothing() {
    let plane = Plane::start().await;
    let mut resources = plane.resources().await;
    let request = v1::ApplyResourcesRequest {
        json: vec![bytes(&policy("a", "all()", &[1]))],
        dry_run: true,
    };
    let answer = resources
        .apply_resources(request)
        .await
        .expect("judges")
        .into_inner();
    assert_eq!(outcomes(&answer), [v1::ApplyOutcome::Created]);
    let get = v1::GetResourceRequest {
        r#ref: reference("GlobalNetworkPolicy", "a"),
    };
    assert_eq!(
        resources
            .get_resource(get)
            .await
            .expect_err("absent")
            .code(),
        Code::NotFound
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_document_is_refused_with_its_field_and_stops_the_file() {
    let plane = Plane::start().await;
    let bad = policy("bad", "role == ", &[1]);
    let refused = plane
        .try_apply(std::slice::from_ref(&bad))
        .await
        .expect_err("invalid");
    assert_eq!(
        (refused.code(), fields(&refused)),
        (Code::InvalidArgument, vec!["spec.selector".to_owned()])
    );
    let details = rpc::Status::decode(refused.details())
        .expect("details")
        .details;
    let span = details
        .iter()
        .find(|any| any.type_url.ends_with("palisade.v1.SourceSpan"))
        .expect("a span");
    let span = v1::SourceSpan::decode(span.value.as_slice()).expect("a span");
    assert_eq!(span.field, "spec.selector");

    let refused = plane
        .try_apply(&[policy("good", "all()", &[1]), bad])
        .await
        .expect_err("invalid");
    assert_eq!(fields(&refused), ["json[1].spec.selector"]);
    let get = v1::GetResourceRequest {
        r#ref: reference("GlobalNetworkPolicy", "good"),
    };
    let good = plane
        .resources()
        .await
        .get_resource(get)
        .await
        .expect_err("nothing was written");
    assert_eq!(good.code(), Code::NotFound);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_enforced_yet_is_refused_with_its_field() {
    let plane = Plane::start().await;
    let mut of_http = policy("fast", "all()", &[1]);
    of_http["spec"]["ingress"][0]["http"] = json!({"methods": ["GET"]});
    let refused = plane.try_apply(&[of_http]).await.expect_err("not enforced");
    assert_eq!(
        (refused.code(), fields(&refused)),
        (
            Code::FailedPrecondition,
            vec!["spec.ingress[0].http".to_owned()]
        )
    );
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_are_there_for_their_policies() {
    let plane = Plane::start().await;
    let mut of_tier = policy("edge.a", "all()", &[1]);
    of_tier["spec"]["tier"] = json!("edge");
    let refused = plane
        .try_apply(std::slice::from_ref(&of_tier))
        .await
        .expect_err("no tier");
    assert_eq!(
        (refused.code(), fields(&refused)),
        (Code::FailedPrecondition, vec!["spec.tier".to_owned()])
    );
    // The file is judged by the state after it, whatever its order.
    plane.apply(&[of_tier, tier("edge")]).await;

    let mut resources = plane.resources().await;
    let delete = |kind, name| v1::DeleteResourceRequest {
        r#ref: reference(kind, name),
        resource_version: 0,
        dry_run: false,
    };
    let refused = resources
        .delete_resource(delete("Tier", "edge"))
        .await
        .expect_err("in use");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    resources
        .delete_resource(delete("GlobalNetworkPolicy", "edge.a"))
        .await
        .expect("deletes");
    resources
        .delete_resource(delete("Tier", "edge"))
        .await
        .expect("deletes");
    for (kind, name) in [
        ("Tier", "default"),
        ("Tier", "kube-admin"),
        ("Profile", "projectcalico-default-allow"),
    ] {
        let refused = resources
            .delete_resource(delete(kind, name))
            .await
            .expect_err("built in");
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_listing_show_one_revision() {
    let plane = Plane::start().await;
    let documents: Vec<Value> = (0..5)
        .map(|n| policy(&format!("p{n}"), "all()", &[1]))
        .collect();
    plane.apply(&documents).await;
    let mut resources = plane.resources().await;
    let mut request = v1::ListResourcesRequest {
        kind: "GlobalNetworkPolicy".to_owned(),
        page_size: 2,
        ..v1::ListResourcesRequest::default()
    };
    let mut names = Vec::new();
    let mut revisions = Vec::new();
    loop {
        let page = resources
            .list_resources(request.clone())
            .await
            .expect("a page")
            .into_inner();
        assert!(page.resources.len() <= 2);
        names.extend(
            page.resources
                .into_iter()
                .map(|r| r.r#ref.expect("a reference").name),
        );
        revisions.push(page.resource_version);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        plane
            .apply(&[policy(&format!("later{}", revisions.len()), "all()", &[1])])
            .await;
    }
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
    revisions.dedup();
    assert_eq!(revisions.len(), 1);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_filtered_by_labels() {
    let plane = Plane::start().await;
    plane
        .apply(&[
            endpoint("a", "n", "eth0", "web"),
            endpoint("b", "n", "eth1", "db"),
        ])
        .await;
    let request = v1::ListResourcesRequest {
        kind: "HostEndpoint".to_owned(),
        label_selector: "role == 'db'".to_owned(),
        ..v1::ListResourcesRequest::default()
    };
    let page = plane
        .resources()
        .await
        .list_resources(request)
        .await
        .expect("a page")
        .into_inner();
    let names: Vec<_> = page
        .resources
        .into_iter()
        .map(|r| r.r#ref.expect("a reference").name)
        .collect();
    assert_eq!(names, ["b"]);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_starts_from_the_present_and_resumes() {
    use v1::WatchEventType::{Added, Bookmark, Deleted, Modified};
    let plane = Plane::start().await;
    plane.apply(&[policy("a", "all()", &[1])]).await;
    let mut resources = plane.resources().await;
    let watch = |version| v1::WatchResourcesRequest {
        kind: "GlobalNetworkPolicy".to_owned(),
        resource_version: version,
        ..v1::WatchResourcesRequest::default()
    };
    let mut present = resources
        .watch_resources(watch(0))
        .await
        .expect("a watch")
        .into_inner();
    let first = present.message().await.expect("goes on").expect("an event");
    assert_eq!(first.r#type(), Added);
    let mark = present.message().await.expect("goes on").expect("an event");
    assert_eq!(mark.r#type(), Bookmark);

    plane.apply(&[policy("a", "all()", &[2])]).await;
    plane
        .apply(&[endpoint("elsewhere", "n", "eth0", "x")])
        .await;
    let delete = v1::DeleteResourceRequest {
        r#ref: reference("GlobalNetworkPolicy", "a"),
        ..v1::DeleteResourceRequest::default()
    };
    resources.delete_resource(delete).await.expect("deletes");
    let mut resumed = resources
        .watch_resources(watch(mark.resource_version))
        .await
        .expect("a watch")
        .into_inner();
    for stream in [&mut present, &mut resumed] {
        let modified = stream.message().await.expect("goes on").expect("an event");
        assert_eq!(modified.r#type(), Modified);
        let deleted = stream.message().await.expect("goes on").expect("an event");
        assert_eq!(deleted.r#type(), Deleted);
        assert_eq!(
            json_of(deleted.resource)["spec"]["ingress"][0]["destination"]["ports"][0],
            2
        );
    }
    plane.server.stop().await;
}
