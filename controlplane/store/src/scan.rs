//! Reading everything under a prefix.

use bytes::Bytes;

use crate::{KeyValue, Revision, Store, StoreError};

/// Keys of a page.
const PAGE: usize = 1000;

/// Everything under a prefix as it stood at one revision, page by page: what is held does not grow with what is stored.
pub struct Scan<'a> {
    store: &'a dyn Store,
    prefix: String,
    after: Option<Bytes>,
    at: Option<Revision>,
    is_over: bool,
}

impl<'a> Scan<'a> {
    /// Of now.
    pub fn new(store: &'a dyn Store, prefix: impl Into<String>) -> Self {
        Self {
            store,
            prefix: prefix.into(),
            after: None,
            at: None,
            is_over: false,
        }
    }

    /// Of a revision: several prefixes are read as they stood together.
    pub fn at(store: &'a dyn Store, prefix: impl Into<String>, revision: Revision) -> Self {
        Self {
            at: Some(revision),
            ..Self::new(store, prefix)
        }
    }

    /// The next keys, in order; none after the last.
    ///
    /// # Errors
    /// As [`Store::range`].
    pub async fn next(&mut self) -> Result<Option<Vec<KeyValue>>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let (prefix, after) = (self.prefix.as_bytes(), self.after.as_deref());
        let page = self.store.range(prefix, after, PAGE, self.at).await?;
        self.at = Some(page.revision);
        self.after = page.items.last().map(|item| item.key.clone());
        self.is_over = !page.more || self.after.is_none();
        Ok(Some(page.items))
    }

    /// The revision shown; 0 before the first page.
    pub fn revision(&self) -> Revision {
        self.at.unwrap_or(Revision(0))
    }
}
