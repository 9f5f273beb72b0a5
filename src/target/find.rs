//! Lookups: filters with `or`, paged to the end, whatever the server makes of them.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::answer;
use super::client::HttpTarget;
use super::observer::RequestKind;
use crate::core::outcome::{Answer, Unknown};
use crate::core::resource::ResourceType;
use crate::pipeline::ports::{Failure, Query};
use crate::scim::{filter, list, percent, resource};

/// Most comparisons in one filter. Databricks refuses more than 200 nodes, others far fewer: see [`HttpTarget::find_all`].
pub(super) const MAX_TERMS: usize = 50;

/// Longest query, in bytes as sent. Many servers and proxies refuse request lines above 8 KiB.
const MAX_QUERY_BYTES: usize = 6 * 1024;

/// Most pages read for one filter. A server that ignores filters lists everything; with more pages than this nothing can
/// be concluded from it.
const MAX_PAGES: usize = 1000;

/// From this many resources on only those are kept that fit a query, so that memory stays bounded.
const MAX_UNCHECKED: usize = 1000;

/// What a lookup has brought so far.
#[derive(Default)]
struct Found {
    resources: Vec<Value>,
    ids: HashSet<String>,
}

impl Found {
    fn has(&self, query: &Query) -> bool {
        self.resources.iter().any(|resource| resource::fits(resource, query.attribute, &query.value))
    }

    fn add(&mut self, resource: Value, queries: &[Query]) {
        let fits = |query: &Query| resource::fits(&resource, query.attribute, &query.value);
        let new = resource::id(&resource).is_none_or(|id| !self.ids.contains(id.as_str()));
        if new && (self.resources.len() < MAX_UNCHECKED || queries.iter().any(fits)) {
            self.ids.extend(resource::id(&resource).map(|id| id.as_str().to_owned()));
            self.resources.push(resource);
        }
    }
}

impl HttpTarget {
    /// Asks for all that match any of the queries: by filters; by a listing of everything if the target can't filter by one
    /// of them; and then for what it hides.
    pub(super) async fn find_all(
        &self,
        kind: ResourceType,
        queries: &[Query],
    ) -> Result<Vec<Value>, Failure> {
        let mut found = Found::default();
        match self.can_filter(kind, queries) {
            true => self.find_filtered(kind, queries, None, &mut found).await?,
            false => self.find_chunk(kind, None, queries, &mut found).await?,
        }
        if let Some(hidden) = &self.dialect.of(kind).hidden {
            self.find_hidden(kind, queries, hidden, &mut found).await?;
        }
        Ok(found.resources)
    }

    fn can_filter(&self, kind: ResourceType, queries: &[Query]) -> bool {
        let filterable = &self.dialect.of(kind).filterable;
        queries.iter().all(|query| filterable.iter().any(|it| it.path() == query.attribute))
    }

    /// What no query has found yet is asked for among what the target leaves out by default. Where it can't combine filters,
    /// all of that is listed; that is remembered.
    async fn find_hidden(
        &self,
        kind: ResourceType,
        queries: &[Query],
        hidden: &str,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let open: Vec<Query> = queries.iter().filter(|query| !found.has(query)).cloned().collect();
        if open.is_empty() {
            return Ok(());
        }
        if self.can_filter(kind, &open) && self.combines.load(Ordering::Relaxed) {
            match self.find_filtered(kind, &open, Some(hidden), found).await {
                Err(Failure::Answered(answer)) if is_too_much(&answer) => {
                    self.combines.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        self.find_chunk(kind, Some(hidden), &open, found).await
    }

    /// A filter that the target finds too much (400, 413, 414, 431, 501) is halved, down to single comparisons; what it can
    /// take is remembered.
    async fn find_filtered(
        &self,
        kind: ResourceType,
        queries: &[Query],
        and: Option<&str>,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let (mut halved, mut largest) = (false, 0);
        let mut waiting: Vec<&[Query]> = self.chunks(queries, and);
        waiting.reverse();
        while let Some(chunk) = waiting.pop() {
            match self.find_chunk(kind, Some(&filter_of(chunk, and)), chunk, found).await {
                Ok(()) => largest = largest.max(chunk.len()),
                Err(Failure::Answered(answer)) if chunk.len() > 1 && is_too_much(&answer) => {
                    let (first, second) = chunk.split_at(chunk.len().div_ceil(2));
                    waiting.extend([second, first]);
                    halved = true;
                }
                Err(failure) => return Err(failure),
            }
        }
        if halved {
            self.max_terms.fetch_min(largest.max(1), Ordering::Relaxed);
        }
        Ok(())
    }

    /// `totalResults` of everything. `count=1`, since `count=0` is not understood everywhere.
    pub(super) async fn count_all(&self, kind: ResourceType) -> Result<Option<u64>, Failure> {
        let path = format!("/{}", self.dialect.of(kind).segment);
        let url = self.url(&path, Some("startIndex=1&count=1"));
        let answer = self.document(RequestKind::Lookup, url).await?;
        let page = list::page(answer).ok_or(answer::broken(Unknown::Unreadable))?;
        Ok(page.total)
    }

    /// As many queries to a filter as fit, in order.
    fn chunks<'a>(&self, queries: &'a [Query], and: Option<&str>) -> Vec<&'a [Query]> {
        let longest = self.profile.limits.filter_length.map_or(usize::MAX, NonZeroUsize::get);
        let is_short =
            |filter: &str| filter.chars().count() <= longest && encoded(filter).len() <= MAX_QUERY_BYTES;
        let max_terms = self.max_terms.load(Ordering::Relaxed);
        let mut chunks = Vec::new();
        let mut rest = queries;
        while !rest.is_empty() {
            let fits = |count: &usize| *count == 1 || is_short(&filter_of(&rest[..*count], and));
            let count = (1..=rest.len().min(max_terms)).take_while(fits).last().unwrap_or(1);
            let (chunk, later) = rest.split_at(count);
            chunks.push(chunk);
            rest = later;
        }
        chunks
    }

    /// Reads all pages of one filter, or of everything. On the first page no `startIndex` is sent, and `count` only where the
    /// profile asks for it: some servers fail on them, and few resources are expected.
    async fn find_chunk(
        &self,
        kind: ResourceType,
        filter: Option<&str>,
        queries: &[Query],
        found: &mut Found,
    ) -> Result<(), Failure> {
        let path = format!("/{}", self.dialect.of(kind).segment);
        let asked = filter.map(encoded).into_iter().chain(self.count()).collect::<Vec<_>>();
        let (mut taken, mut seen) = (0, HashSet::new());
        for _ in 0..MAX_PAGES {
            let from = (taken > 0).then(|| format!("startIndex={}", taken + 1));
            let query = asked.iter().cloned().chain(from).collect::<Vec<_>>().join("&");
            let query = Some(query.as_str()).filter(|query| !query.is_empty());
            let answer = self.document(RequestKind::Lookup, self.url(&path, query)).await?;
            let page = list::page(answer).ok_or(answer::broken(Unknown::Unreadable))?;
            taken += page.resources.len() as u64;
            let mut progress = false;
            for resource in page.resources {
                progress |= seen.insert(identity(&resource));
                found.add(resource, queries);
            }
            // no progress: an empty page, or a server that does not page and sent the same again
            if !progress || page.total.is_some_and(|total| taken >= total) {
                return Ok(());
            }
        }
        Err(answer::broken(Unknown::Unreadable))
    }

    /// How many resources a page is to hold: as the profile says, and no more than the target allows.
    fn count(&self) -> Option<String> {
        let limit = self.max_results.load(Ordering::Relaxed);
        let size = self.profile.limits.page_size?.get();
        Some(format!("count={}", if limit > 0 { size.min(limit) } else { size }))
    }
}

fn identity(resource: &Value) -> String {
    resource::id(resource).map_or_else(|| resource.to_string(), |id| id.as_str().to_owned())
}

/// A filter for any of the queries, and this as well.
fn filter_of(queries: &[Query], and: Option<&str>) -> String {
    let terms = queries.iter().map(|query| (query.attribute, query.value.as_str()));
    let any = filter::any_of(terms);
    match and {
        Some(and) => format!("({any}) and ({and})"),
        None => any,
    }
}

fn encoded(filter: &str) -> String {
    format!("filter={}", percent::encode(filter))
}

/// Whether a filter may have been refused for its size or its `or`.
fn is_too_much(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 413 | 414 | 431 | 501) || answer.scim_type.as_deref() == Some("tooMany")
}
