//! Get and list. The pages of one listing show one revision.

use super::{PREFIX, Resources, problems, stored};
use crate::{failure::of_store, unreadable};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_proto::v1::{
    GetResourceRequest, GetResourceResponse, ListResourcesRequest, ListResourcesResponse,
};
use palisade_selector::Selector;
use palisade_store::Revision;
use tonic::{Code, Status};

/// Resources of a page unless said otherwise, and at most.
const PAGE: u32 = 500;
const LARGEST_PAGE: u32 = 1000;

/// Where a listing goes on: the revision it shows, and the last key of the page before.
struct Place {
    revision: Revision,
    after: bytes::Bytes,
}

impl Resources {
    pub(super) async fn get(
        &self,
        request: GetResourceRequest,
    ) -> Result<GetResourceResponse, Status> {
        let id = stored::identity(request.r#ref)?;
        let item = self.find(&id).await?.ok_or_else(|| {
            let message = format!("{id} does not exist");
            problems::about(Code::NotFound, id.kind.as_str(), id.name.as_str(), message)
        })?;
        let resource = stored::of_key_value(&item)
            .map_err(|row| unreadable::refusal(&[row], "so it cannot be shown"))?;
        Ok(GetResourceResponse {
            resource: Some(resource),
        })
    }

    pub(super) async fn list(
        &self,
        request: ListResourcesRequest,
    ) -> Result<ListResourcesResponse, Status> {
        let prefix = prefix(&request.kind, &request.namespace)?;
        let selector = selector(&request.label_selector)?;
        let size = match request.page_size {
            0 => PAGE,
            size if size <= LARGEST_PAGE => size,
            _ => {
                return Err(Status::invalid_argument(format!(
                    "page_size is at most {LARGEST_PAGE}"
                )));
            }
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let place = Place::parse(&request.page_token)?;
        let (mut at, mut after) = match place {
            Some(place) => (Some(place.revision), Some(place.after)),
            None => (None, None),
        };
        let (mut resources, mut unreadable) = (Vec::new(), Vec::new());
        loop {
            let page = self
                .store
                .range(
                    prefix.as_bytes(),
                    after.as_deref(),
                    size - resources.len() - unreadable.len(),
                    at,
                )
                .await
                .map_err(of_store)?;
            at = Some(page.revision);
            for item in &page.items {
                match stored::read(item) {
                    Ok(read) => {
                        let labels = &read.resource.metadata.labels;
                        if selector
                            .as_ref()
                            .is_none_or(|selector| selector.matches(labels))
                        {
                            resources.push(stored::present(&read.id, read.json, item.modified));
                        }
                    }
                    // Whether the selector picks it, nobody knows.
                    Err(row) => unreadable.push(unreadable::describe(&row)),
                }
            }
            after = page.items.last().map(|item| item.key.clone());
            let next = after.clone().filter(|_| page.more);
            if next.is_none() || resources.len() + unreadable.len() >= size {
                return Ok(ListResourcesResponse {
                    resources,
                    unreadable,
                    next_page_token: next.map_or_else(String::new, |after| {
                        Place {
                            revision: page.revision,
                            after,
                        }
                        .token()
                    }),
                    resource_version: page.revision.0,
                });
            }
        }
    }
}

/// Keys of a kind, or of all; of a namespace, or of all.
pub(super) fn prefix(kind: &str, namespace: &str) -> Result<String, Status> {
    if kind.is_empty() {
        return match namespace {
            "" => Ok(PREFIX.to_owned()),
            _ => Err(Status::invalid_argument("a namespace needs a kind")),
        };
    }
    let kind = stored::kind(kind)?;
    Ok(match namespace {
        "" => format!("{PREFIX}{kind}/"),
        namespace => format!("{PREFIX}{kind}/{namespace}/"),
    })
}

fn selector(text: &str) -> Result<Option<Selector>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    Selector::parse(text)
        .map(Some)
        .map_err(|error| problems::invalid_field("label_selector".to_owned(), &error.to_string()))
}

// === impl Place ===

impl Place {
    fn token(&self) -> String {
        let mut bytes = self.revision.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.after);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn parse(token: &str) -> Result<Option<Self>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let place = bytes.as_deref().and_then(|bytes| {
            let (revision, after) = bytes.split_first_chunk::<8>()?;
            Some(Self {
                revision: Revision(u64::from_be_bytes(*revision)),
                after: bytes::Bytes::copy_from_slice(after),
            })
        });
        place
            .map(Some)
            .ok_or_else(|| Status::invalid_argument("page_token is malformed"))
    }
}
