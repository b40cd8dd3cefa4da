//! `TokenService`: join tokens, kept under `/t/<id>` as records without the secret.

use crate::{
    failure::{contended, internal, of_store},
    unreadable,
};
use jiff::{SignedDuration, Timestamp};
use palisade_identity::{JoinToken, Name, Pin, TokenRecord};
use palisade_model::stored::{self, Unreadable};
use palisade_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, DeleteTokenRequest, DeleteTokenResponse,
    ListTokensRequest, ListTokensResponse, Token, token_service_server::TokenService,
};
use palisade_store::{Compare, Op, Scan, Store, Txn, TxnOutcome};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Where records are kept.
pub(crate) const PREFIX: &str = "/t/";
/// Life of a token unless said otherwise: an hour.
const DEFAULT_SECONDS: u64 = 3600;
/// Shortest and longest life.
const SECONDS: std::ops::RangeInclusive<u64> = 60..=2_592_000;

/// The service.
pub struct Tokens {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// Goes into every token.
    pub pin: Pin,
}

pub(crate) fn key(id: &str) -> bytes::Bytes {
    format!("{PREFIX}{id}").into()
}

pub(crate) fn encode(record: &TokenRecord) -> Result<bytes::Bytes, Status> {
    stored::encode(record)
        .map(Into::into)
        .map_err(|error| internal("cannot encode a token record", &error))
}

pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<TokenRecord, Unreadable> {
    stored::read_record(key, value)
}

fn describe(record: &TokenRecord) -> Token {
    let seconds = |at: i64| u64::try_from(at).unwrap_or_default();
    Token {
        id: record.id.clone(),
        node_name: record.node_name.clone().unwrap_or_default(),
        created: seconds(record.created),
        expires: seconds(record.expires),
        used: record.used_by.is_some(),
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let CreateTokenRequest {
            node_name,
            ttl_seconds,
        } = request.into_inner();
        let node: Option<Name> = match node_name.as_str() {
            "" => None,
            name => Some(crate::enrollment::node_name(name)?),
        };
        let seconds = match ttl_seconds {
            0 => DEFAULT_SECONDS,
            seconds if SECONDS.contains(&seconds) => seconds,
            _ => {
                let (shortest, longest) = (SECONDS.start(), SECONDS.end());
                return Err(Status::invalid_argument(format!(
                    "ttl_seconds must lie in {shortest}..={longest}"
                )));
            }
        };
        let life = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        let (token, record) = JoinToken::new(self.pin, node.as_ref(), life, Timestamp::now())
            .map_err(|error| internal("cannot make a token", &error))?;
        let key = key(token.id());
        let txn = Txn {
            compare: vec![Compare::Absent(key.clone())],
            then: vec![Op::Put(key, encode(&record)?)],
        };
        match self.store.txn(txn).await.map_err(of_store)? {
            TxnOutcome::Committed { .. } => Ok(Response::new(CreateTokenResponse {
                token: token.expose(),
                info: Some(describe(&record)),
            })),
            TxnOutcome::Failed { .. } => Err(contended()),
        }
    }

    async fn list_tokens(
        &self,
        _: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let (mut tokens, mut unreadable) = (Vec::new(), Vec::new());
        let mut scan = Scan::new(&*self.store, PREFIX);
        while let Some(items) = scan.next().await.map_err(of_store)? {
            for item in &items {
                match read(&item.key, &item.value) {
                    Ok(record) => tokens.push(describe(&record)),
                    Err(row) => unreadable.push(unreadable::describe(&row)),
                }
            }
        }
        Ok(Response::new(ListTokensResponse { tokens, unreadable }))
    }

    async fn delete_token(
        &self,
        request: Request<DeleteTokenRequest>,
    ) -> Result<Response<DeleteTokenResponse>, Status> {
        let id = request.into_inner().id;
        let key = key(&id);
        let stored = self.store.get(&key, None).await.map_err(of_store)?;
        let stored =
            stored.ok_or_else(|| Status::not_found(format!("there is no token `{id}`")))?;
        read(&key, &stored.value)
            .map_err(|row| unreadable::refusal(&[row], "so it is not deleted"))?;
        let txn = Txn {
            compare: vec![Compare::ModifiedAt(key.clone(), stored.modified)],
            then: vec![Op::Delete(key)],
        };
        match self.store.txn(txn).await.map_err(of_store)? {
            TxnOutcome::Committed { .. } => Ok(Response::new(DeleteTokenResponse {})),
            TxnOutcome::Failed { .. } => Err(contended()),
        }
    }
}
