//! Who gets in, and what they may do there.

use crate::harness::{Context, DEADLINE, Node, Plane};
use palisade_identity::{JoinToken, PrivateKey};
use palisade_proto::v1::{
    self, certificate_service_client::CertificateServiceClient,
    enrollment_service_client::EnrollmentServiceClient,
    node_sync_service_client::NodeSyncServiceClient,
    resource_service_client::ResourceServiceClient, token_service_client::TokenServiceClient,
};
use tokio::{net::TcpStream, time::timeout};
use tonic::Code;

fn list() -> v1::ListResourcesRequest {
    v1::ListResourcesRequest::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_follow_its_view_and_nothing_else() {
    let plane = Plane::start().await;
    let node = plane.join("web-1").await;
    let mut resources = ResourceServiceClient::new(node.connect().await);
    let refused = resources.list_resources(list()).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut tokens = TokenServiceClient::new(node.connect().await);
    let refused = tokens
        .create_token(v1::CreateTokenRequest::default())
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    Node::connect(&node).await.accept().await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_is_no_node() {
    let plane = Plane::start().await;
    let mut sync = NodeSyncServiceClient::new(plane.admin.connect().await);
    let refused = sync
        .stream_view(tokio_stream::empty())
        .await
        .expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_only_enrolment_is_served() {
    let plane = Plane::start().await;
    let stranger = Context {
        identity: None,
        ..plane.admin.clone()
    };
    // In TLS 1.3 the client learns of the refusal with its first request, if not before.
    let swapped = Context {
        enrollment: stranger.api,
        ..stranger.clone()
    };
    let attempt = async {
        let channel = tokio::spawn(async move { swapped.stranger().await }).await;
        match channel {
            Ok(channel) => ResourceServiceClient::new(channel)
                .list_resources(list())
                .await
                .is_err(),
            Err(_) => true,
        }
    };
    assert!(timeout(DEADLINE, attempt).await.expect("in time"));
    let mut resources = ResourceServiceClient::new(stranger.stranger().await);
    let absent = resources
        .list_resources(list())
        .await
        .expect_err("not served there");
    assert_eq!(absent.code(), Code::Unimplemented);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_spent_once_and_carries_the_pin() {
    let plane = Plane::start().await;
    let token = plane.token("web-1").await;
    let parsed: JoinToken = token.parse().expect("a token");
    let mut enrollment = EnrollmentServiceClient::new(plane.admin.stranger().await);
    let bundle = enrollment
        .get_trust_bundle(v1::GetTrustBundleRequest {})
        .await
        .expect("a bundle");
    parsed
        .pin()
        .check_bundle(&bundle.into_inner().ca_bundle)
        .expect("the pinned authority");

    let other = plane
        .admin
        .enroll(&token, "web-2")
        .await
        .err()
        .expect("for another node");
    assert_eq!(other.code(), Code::PermissionDenied);
    plane.admin.enroll(&token, "web-1").await.expect("enrols");
    let again = plane
        .admin
        .enroll(&token, "web-1")
        .await
        .err()
        .expect("spent");
    assert_eq!(again.code(), Code::PermissionDenied);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_racing_for_a_token_gets_it() {
    let plane = Plane::start().await;
    let token = plane.token("web-1").await;
    let attempts = (0..8).map(|_| plane.admin.enroll(&token, "web-1"));
    let won = futures_util::future::join_all(attempts).await;
    assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1);
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_name_takes_over_no_node() {
    let plane = Plane::start().await;
    plane.join("web-1").await;
    let token = plane.token("").await;
    let refused = plane
        .admin
        .enroll(&token, "web-1")
        .await
        .err()
        .expect("taken");
    assert_eq!(refused.code(), Code::PermissionDenied);
    plane
        .admin
        .enroll(&token, "web-2")
        .await
        .expect("a new name");
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_for_its_own_node() {
    let plane = Plane::start().await;
    let node = plane.join("web-1").await;
    let key = PrivateKey::generate().expect("a key");
    let request = v1::RenewCertificateRequest {
        csr: key.request().expect("a request"),
    };
    let mut certificates = CertificateServiceClient::new(node.connect().await);
    let renewed = certificates
        .renew_certificate(request)
        .await
        .expect("renews")
        .into_inner();
    let renewed = Context {
        identity: Some((renewed.certificate_chain, key.pem())),
        ..node
    };
    Node::connect(&renewed).await.accept().await;
    plane.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_handshakes_hold_nobody_up() {
    let plane = Plane::start().await;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        stalled.push(TcpStream::connect(plane.admin.api).await.expect("connects"));
    }
    let served = async { plane.resources().await.list_resources(list()).await.is_ok() };
    assert!(timeout(DEADLINE, served).await.expect("in time"));
    drop(stalled);
    plane.server.stop().await;
}
