//! Who may call what: one line per method, deny by default.
//!
//! Judged before a request reaches a service, by the path of the method and the identity of the client's certificate.

use crate::tls::Remote;
use palisade_identity::{Identity, Role};
use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
};
use tower::Layer;

/// Who may call a method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Node daemons, each for itself.
    Nodes,
    /// Node daemons and administrators.
    NodesAndAdmins,
    /// Administrators.
    Admins,
    /// Plugin authors and administrators.
    Authors,
    /// Every user.
    Users,
    /// Whoever has a certificate.
    Everyone,
    /// Served on the enrolment port only, where nobody has a certificate.
    Enrolling,
}

/// Every method that is served.
pub const METHODS: &[(&str, Allowed)] = &[
    ("/grpc.health.v1.Health/Check", Allowed::Everyone),
    ("/grpc.health.v1.Health/List", Allowed::Everyone),
    ("/grpc.health.v1.Health/Watch", Allowed::Everyone),
    (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Allowed::Users,
    ),
    ("/palisade.v1.AnalysisService/Explain", Allowed::Users),
    ("/palisade.v1.AnalysisService/Select", Allowed::Users),
    (
        "/palisade.v1.CertificateService/RenewCertificate",
        Allowed::Nodes,
    ),
    ("/palisade.v1.EnrollmentService/Enroll", Allowed::Enrolling),
    (
        "/palisade.v1.EnrollmentService/GetTrustBundle",
        Allowed::Enrolling,
    ),
    ("/palisade.v1.FlowService/ReportFlows", Allowed::Nodes),
    ("/palisade.v1.FlowService/WatchFlows", Allowed::Users),
    (
        "/palisade.v1.NamespaceService/DeleteIdentity",
        Allowed::Admins,
    ),
    (
        "/palisade.v1.NamespaceService/DeleteNamespace",
        Allowed::Admins,
    ),
    (
        "/palisade.v1.NamespaceService/ListIdentities",
        Allowed::Users,
    ),
    (
        "/palisade.v1.NamespaceService/ListNamespaces",
        Allowed::Users,
    ),
    ("/palisade.v1.NamespaceService/PutIdentity", Allowed::Admins),
    (
        "/palisade.v1.NamespaceService/PutNamespace",
        Allowed::Admins,
    ),
    ("/palisade.v1.NodeSyncService/StreamView", Allowed::Nodes),
    ("/palisade.v1.ObserveService/GetNodeView", Allowed::Users),
    ("/palisade.v1.ObserveService/GetStatus", Allowed::Users),
    ("/palisade.v1.ObserveService/ListNodes", Allowed::Users),
    ("/palisade.v1.ObserveService/WatchNodes", Allowed::Users),
    (
        "/palisade.v1.PluginService/FetchPlugin",
        Allowed::NodesAndAdmins,
    ),
    ("/palisade.v1.PluginService/ListPlugins", Allowed::Users),
    ("/palisade.v1.PluginService/UploadPlugin", Allowed::Authors),
    (
        "/palisade.v1.ResourceService/ApplyResources",
        Allowed::Admins,
    ),
    (
        "/palisade.v1.ResourceService/CreateResource",
        Allowed::Admins,
    ),
    (
        "/palisade.v1.ResourceService/DeleteResource",
        Allowed::Admins,
    ),
    ("/palisade.v1.ResourceService/GetResource", Allowed::Users),
    ("/palisade.v1.ResourceService/ListResources", Allowed::Users),
    (
        "/palisade.v1.ResourceService/UpdateResource",
        Allowed::Admins,
    ),
    (
        "/palisade.v1.ResourceService/WatchResources",
        Allowed::Users,
    ),
    (
        "/palisade.v1.StoreService/AcceptUnreadable",
        Allowed::Admins,
    ),
    ("/palisade.v1.StoreService/ListUnreadable", Allowed::Admins),
    ("/palisade.v1.TokenService/CreateToken", Allowed::Admins),
    ("/palisade.v1.TokenService/DeleteToken", Allowed::Admins),
    ("/palisade.v1.TokenService/ListTokens", Allowed::Admins),
];

/// Whether an identity may call a method, named by its path.
///
/// # Errors
/// `PERMISSION_DENIED`, also for methods that do not exist.
pub fn judge(identity: &Identity, path: &str) -> Result<(), Status> {
    let line = METHODS.iter().find(|(method, _)| *method == path);
    let allowed = match (line.map(|(_, allowed)| allowed), identity) {
        (None | Some(Allowed::Enrolling), _) => false,
        (Some(Allowed::Everyone), _) => true,
        (Some(Allowed::Nodes | Allowed::NodesAndAdmins), Identity::Node(_)) => true,
        (Some(Allowed::Users), Identity::User { role, .. }) => may_read(*role),
        (Some(Allowed::Admins | Allowed::NodesAndAdmins), Identity::User { role, .. }) => {
            *role == Role::Admin
        }
        (Some(Allowed::Authors), Identity::User { role, .. }) => {
            matches!(role, Role::Admin | Role::PluginAuthor)
        }
        (Some(Allowed::Nodes), Identity::User { .. })
        | (Some(Allowed::Users | Allowed::Admins | Allowed::Authors), Identity::Node(_)) => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(Status::permission_denied(format!(
            "{identity} may not call {path}"
        )))
    }
}

/// Editors write by tier, which cannot be asked for yet, so they only read.
const fn may_read(role: Role) -> bool {
    match role {
        Role::Admin | Role::Editor | Role::Viewer | Role::Auditor | Role::PluginAuthor => true,
    }
}

/// The identity behind a request that was let through.
#[derive(Clone, Debug)]
pub struct Caller(Identity);

// === impl Caller ===

impl Caller {
    /// Of a request.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if the request did not come through [`Access`].
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .ok_or_else(|| Status::unauthenticated("a client certificate is needed"))
    }

    /// The node's name; `None` for users.
    pub fn as_node(&self) -> Option<&str> {
        match &self.0 {
            Identity::Node(name) => Some(name.as_str()),
            Identity::User { .. } => None,
        }
    }

    /// The node's name.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for users.
    pub fn node(&self) -> Result<&str, Status> {
        self.as_node()
            .ok_or_else(|| Status::permission_denied("only nodes may call this"))
    }
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Puts [`judge`] in front of all services.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access;

impl<S> Layer<S> for Access {
    type Service = Judged<S>;

    fn layer(&self, inner: S) -> Judged<S> {
        Judged { inner }
    }
}

/// A service behind [`Access`].
#[derive(Clone, Debug)]
pub struct Judged<S> {
    inner: S,
}

type Answer<S> = <S as Service<Request<Body>>>::Response;
type Fault<S> = <S as Service<Request<Body>>>::Error;

impl<S> Service<Request<Body>> for Judged<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Answer<S>;
    type Error = Fault<S>;
    type Future = futures_util::future::Either<S::Future, Ready<Result<Answer<S>, Fault<S>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault<S>>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request
            .extensions()
            .get::<Remote>()
            .and_then(|remote| remote.peer.clone());
        let judged = match &peer {
            None => Err(Status::unauthenticated("a client certificate is needed")),
            Some(peer) => {
                judge(&peer.identity, request.uri().path()).map(|()| peer.identity.clone())
            }
        };
        match judged {
            Ok(identity) => {
                request.extensions_mut().insert(Caller(identity));
                futures_util::future::Either::Left(self.inner.call(request))
            }
            Err(status) => {
                tracing::warn!(path = request.uri().path(), %status, "refused");
                futures_util::future::Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use std::collections::BTreeSet;

    fn described() -> BTreeSet<String> {
        let set =
            prost_types::FileDescriptorSet::decode(palisade_proto::DESCRIPTORS).expect("decodes");
        let mut paths = BTreeSet::new();
        for file in set.file {
            for service in &file.service {
                for method in &service.method {
                    paths.insert(format!(
                        "/{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
        paths
    }

    #[test]
    fn every_method_of_the_contract_has_exactly_one_line() {
        let lines: Vec<&str> = METHODS.iter().map(|(path, _)| *path).collect();
        let unique: BTreeSet<String> = lines.iter().map(|path| (*path).to_owned()).collect();
        assert_eq!(unique.len(), lines.len(), "no line twice");
        let ours: BTreeSet<String> = unique
            .into_iter()
            .filter(|p| p.starts_with("/palisade."))
            .collect();
        assert_eq!(ours, described());
    }

    #[test]
    fn each_role_may_call_what_the_table_says_and_nothing_else() {
        let user = |role| Identity::User {
            name: "x".parse().expect("a name"),
            role,
        };
        let node = Identity::Node("n".parse().expect("a name"));
        for path in described() {
            let is_read = ["Get", "List", "Watch", "Explain", "Select"]
                .iter()
                .any(|verb| {
                    path.rsplit('/')
                        .next()
                        .is_some_and(|method| method.starts_with(verb))
                });
            let of_nodes = path.contains("NodeSync")
                || path.contains("CertificateService")
                || path.ends_with("/ReportFlows");
            let fetches = path.ends_with("/FetchPlugin");
            let uploads = path.ends_with("/UploadPlugin");
            let enrolling = path.contains("EnrollmentService");
            // They show what only administrators may see.
            let of_admins = path.contains("TokenService") || path.contains("StoreService");
            assert_eq!(
                judge(&node, &path).is_ok(),
                of_nodes || fetches,
                "node {path}"
            );
            for role in Role::ALL {
                let expected = match role {
                    Role::Admin => !of_nodes && !enrolling,
                    Role::PluginAuthor if uploads => true,
                    _ => is_read && !of_nodes && !enrolling && !of_admins,
                };
                assert_eq!(judge(&user(role), &path).is_ok(), expected, "{role} {path}");
            }
        }
        assert!(judge(&user(Role::Admin), "/palisade.v1.Nothing/AtAll").is_err());
    }
}
