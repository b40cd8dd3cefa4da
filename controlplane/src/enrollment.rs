//! How a machine becomes a node, and stays one: `EnrollmentService` and `CertificateService`.
//!
//! A token is spent in the transaction that creates a missing Node. `/c/<node>` says that a node has had a certificate:
//! a token without a name is good for new names only, so that it cannot take over a node.

use crate::{
    access::Caller,
    failure::{contended, internal, of_store},
    resources, tokens,
};
use jiff::Timestamp;
use palisade_identity::{Authority, AuthorityError, JoinToken, Name};
use palisade_proto::v1::{
    EnrollRequest, EnrollResponse, GetTrustBundleRequest, GetTrustBundleResponse,
    RenewCertificateRequest, RenewCertificateResponse,
    certificate_service_server::CertificateService, enrollment_service_server::EnrollmentService,
};
use palisade_store::{Compare, Op, Store, Txn, TxnOutcome};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

/// How often a transaction is tried again when somebody else was faster.
const ATTEMPTS: usize = 5;

/// Both services.
#[derive(Clone)]
pub struct Enrollment {
    /// Where tokens and nodes are kept.
    pub store: Arc<dyn Store>,
    /// Signs.
    pub authority: Arc<Authority>,
}

/// The name of a node, which must do for a certificate and for a Node resource.
pub(crate) fn node_name(text: &str) -> Result<Name, Status> {
    let refused = || {
        Status::invalid_argument(format!(
            "`{text}` is not a node name: lower-case letters, digits, `-` and `.`"
        ))
    };
    palisade_model::Name::new(text).ok_or_else(refused)?;
    text.parse().map_err(|_| refused())
}

impl Enrollment {
    fn certify(&self, node: &Name, csr: &[u8]) -> Result<String, Status> {
        self.authority
            .issue_node(node, csr, Timestamp::now())
            .map_err(|error| match error {
                AuthorityError::Key(error) => Status::invalid_argument(error.to_string()),
                error => internal("cannot sign the certificate", &error),
            })
    }

    /// Spends the token; true when done, false when somebody else changed something meanwhile.
    async fn spend(&self, token: &JoinToken, node: &Name) -> Result<bool, Status> {
        // A stranger learns nothing but that it did not work; which of these it was is in our log.
        let refused = || {
            Status::permission_denied(format!(
                "the join token was refused for `{node}`: it is used up, expired, revoked, or for another node name"
            ))
        };
        let token_key = tokens::key(token.id());
        let stored = self.store.get(&token_key, None).await.map_err(of_store)?;
        let Some(stored) = stored else {
            warn!(node = %node, token = token.id(), "unknown join token");
            return Err(refused());
        };
        let record = tokens::read(&token_key, &stored.value).map_err(|row| {
            warn!(node = %node, key = row.key, reason = row.reason, "a join token cannot be read");
            refused()
        })?;
        let spent = record
            .spend(token, node, Timestamp::now())
            .map_err(|error| {
                warn!(node = %node, token = token.id(), %error, "join token refused");
                refused()
            })?;
        let certified: bytes::Bytes = format!("/c/{node}").into();
        let mut txn = Txn {
            compare: vec![Compare::ModifiedAt(token_key.clone(), stored.modified)],
            then: vec![
                Op::Put(token_key, tokens::encode(&spent)?),
                Op::Put(
                    certified.clone(),
                    bytes::Bytes::copy_from_slice(token.id().as_bytes()),
                ),
            ],
        };
        if record.node_name.is_none() {
            if self
                .store
                .get(&certified, None)
                .await
                .map_err(of_store)?
                .is_some()
            {
                warn!(node = %node, token = token.id(), "token without a name for an enrolled node");
                return Err(refused());
            }
            txn.compare.push(Compare::Absent(certified));
        }
        let (key, value) = resources::new_node(node.as_str())?;
        match self.store.get(&key, None).await.map_err(of_store)? {
            Some(_) => txn.compare.push(Compare::Present(key)),
            None => {
                txn.compare.push(Compare::Absent(key.clone()));
                txn.then.push(Op::Put(key, value));
            }
        }
        let outcome = self.store.txn(txn).await.map_err(of_store)?;
        Ok(matches!(outcome, TxnOutcome::Committed { .. }))
    }
}

#[tonic::async_trait]
impl EnrollmentService for Enrollment {
    async fn get_trust_bundle(
        &self,
        _: Request<GetTrustBundleRequest>,
    ) -> Result<Response<GetTrustBundleResponse>, Status> {
        Ok(Response::new(GetTrustBundleResponse {
            ca_bundle: self.authority.bundle().to_owned(),
        }))
    }

    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        let EnrollRequest {
            token,
            node_name: name,
            csr,
        } = request.into_inner();
        let token: JoinToken = token
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let node = node_name(&name)?;
        // Signed first: a request that is refused does not cost the token.
        let certificate_chain = self.certify(&node, &csr)?;
        for _ in 0..ATTEMPTS {
            if self.spend(&token, &node).await? {
                info!(node = %node, token = token.id(), "node enrolled");
                return Ok(Response::new(EnrollResponse {
                    certificate_chain,
                    ca_bundle: self.authority.bundle().to_owned(),
                }));
            }
        }
        Err(contended())
    }
}

#[tonic::async_trait]
impl CertificateService for Enrollment {
    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let node = node_name(Caller::of(&request)?.node()?)?;
        let (key, _) = resources::new_node(node.as_str())?;
        if self
            .store
            .get(&key, None)
            .await
            .map_err(of_store)?
            .is_none()
        {
            return Err(Status::permission_denied(format!(
                "there is no node `{node}` any more"
            )));
        }
        let certificate_chain = self.certify(&node, &request.into_inner().csr)?;
        info!(node = %node, "certificate renewed");
        Ok(Response::new(RenewCertificateResponse {
            certificate_chain,
            ca_bundle: self.authority.bundle().to_owned(),
        }))
    }
}
