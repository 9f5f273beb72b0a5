//! Operations and queries as requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::Method as HttpMethod;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::answer;
use super::auth::Auth;
use super::call::{Call, MediaTypes};
use super::exchange::{Http, Payload, Received};
use super::find::MAX_TERMS;
use super::limiter::Limiter;
use super::observer::{Observer, RequestKind};
use super::options::{BuildError, TargetOptions};
use super::profile::Profile;
use crate::core::dialect::Dialect;
use crate::core::operation::{Method, Operation};
use crate::core::outcome::{Answer, NotSent, Outcome, Reply, Unknown};
use crate::core::resource::{ResourceType, TargetId};
use crate::pipeline::ports::{BulkLimits, Capabilities, Failure, Query, Target, Transport};
use crate::scim::capabilities::{self, Advertised};
use crate::scim::{bulk, lenient, percent};

/// A SCIM service provider over HTTP.
#[derive(Debug)]
pub struct HttpTarget {
    pub(super) http: Http,
    pub(super) auth: Auth,
    pub(super) timeout: Duration,
    pub(super) bulk_timeout: Duration,
    /// How many comparisons one filter may hold; learnt from refusals.
    pub(super) max_terms: AtomicUsize,
    /// False once a filter and what is hidden could not be asked for together.
    pub(super) combines: AtomicBool,
    /// The greatest number of results that ServiceProviderConfig names; 0: none, or not asked yet.
    pub(super) max_results: AtomicU64,
    pub(super) media_types: MediaTypes,
    pub(super) profile: Arc<Profile>,
    pub(super) dialect: Dialect,
    /// Where places in the budget come from; none: nothing is shared with anybody.
    pub(super) limiter: Option<Limiter>,
    base_url: Url,
}

impl HttpTarget {
    /// Sets the client up; nothing is sent. `now` is the time of day, for dates in headers. A crypto provider of rustls
    /// must be installed in this process before.
    pub fn new(
        options: TargetOptions,
        observer: Arc<dyn Observer>,
        now: fn() -> SystemTime,
    ) -> Result<Self, BuildError> {
        if !is_http(&options.base_url) {
            return Err(BuildError::BaseUrl);
        }
        let https = [Some(&options.base_url), options.auth.token_url()]
            .into_iter()
            .flatten()
            .any(|url| url.scheme() == "https");
        let filter_terms = options.profile.limits.filter_terms;
        Ok(Self {
            http: Http::new(&options, https, observer, now)?,
            auth: Auth::new(options.auth)?,
            timeout: options.timeout,
            bulk_timeout: options.bulk_timeout,
            max_terms: AtomicUsize::new(filter_terms.map_or(MAX_TERMS, |terms| terms.get().min(MAX_TERMS))),
            combines: AtomicBool::new(true),
            max_results: AtomicU64::new(0),
            media_types: MediaTypes::new(&options.profile)?,
            dialect: options.profile.dialect(),
            profile: options.profile,
            limiter: None,
            base_url: options.base_url,
        })
    }

    /// From now on every request first gets a place in a budget; those to the token endpoint need none.
    #[must_use]
    pub fn budgeted(self, limiter: Limiter) -> Self {
        Self { limiter: Some(limiter), ..self }
    }

    /// A URL below the base URL. `path` begins with a slash and is percent-encoded already.
    pub(super) fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{path}", self.base_url.path().trim_end_matches('/')));
        let parts: Vec<&str> = [self.base_url.query(), query].into_iter().flatten().collect();
        url.set_query((!parts.is_empty()).then(|| parts.join("&")).as_deref());
        url
    }

    async fn bulk(&self, operations: &[Operation], deadline: Instant) -> Reply {
        let call = Call {
            kind: RequestKind::Bulk,
            method: HttpMethod::POST,
            url: self.url(&self.profile.bulk.path, None),
            if_match: None,
            body: Some(Bytes::from(bulk::encode(operations, &self.dialect))),
            operations: u32::try_from(operations.len()).unwrap_or(u32::MAX),
            deadline: Some(deadline),
        };
        match self.call(call).await {
            Ok(received) => {
                let reply = self.bulk_reply(operations, &received);
                if matches!(&reply, Reply::Each(outcomes) if outcomes.iter().any(is_too_many)) {
                    self.too_many(received.place).await;
                }
                reply
            }
            Err(failed) => Reply::Whole(failed.into()),
        }
    }

    /// Results count even under a status that is no success: they say what became of each operation.
    fn bulk_reply(&self, operations: &[Operation], received: &Received) -> Reply {
        let results = match &received.body {
            Payload::Whole(bytes) => lenient::parse(bytes).and_then(|body| bulk::decode(operations, &body)),
            Payload::Cut(_) => None,
        };
        let nothing =
            |outcomes: &Vec<Outcome>| outcomes.iter().all(|o| *o == Outcome::Unknown(Unknown::Missing));
        match (results, &received.body) {
            (Some(outcomes), _) if answer::is_success(received.status) || !nothing(&outcomes) => {
                Reply::Each(outcomes)
            }
            _ if !answer::is_success(received.status) => {
                Reply::Whole(Outcome::Answered(answer::refused(received, self.http.now())))
            }
            (_, Payload::Cut(unknown)) => Reply::Whole(Outcome::Unknown(*unknown)),
            (_, Payload::Whole(_)) => Reply::Whole(Outcome::Unknown(Unknown::Unreadable)),
        }
    }

    /// One after the other. Once it shows that the target can't be had now, the rest is not tried and has the same outcome:
    /// nothing sent, no token, or told to wait.
    async fn single(&self, operations: &[Operation], deadline: Instant) -> Reply {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            let outcome = self.one(operation, deadline).await;
            let stop = is_for_all(&outcome);
            outcomes.push(outcome);
            if stop {
                break;
            }
        }
        if let Some(last) = outcomes.last().cloned() {
            outcomes.resize(operations.len(), last);
        }
        Reply::Each(outcomes)
    }

    async fn one(&self, operation: &Operation, deadline: Instant) -> Outcome {
        let call = Call {
            kind: RequestKind::Single,
            method: http_method(operation.method()),
            url: self.url(&bulk::path(operation, &self.dialect), None),
            if_match: operation.version(),
            body: operation.body().map(|body| Bytes::from(body.to_string())),
            operations: 1,
            deadline: Some(deadline),
        };
        match self.call(call).await {
            Ok(received) => answer::written(operation.method(), &received, self.http.now()),
            Err(failed) => failed.into(),
        }
    }

    /// GETs a document. `Failure` says why there is none.
    pub(super) async fn document(&self, kind: RequestKind, url: Url) -> Result<Value, Failure> {
        let received = self.received(kind, url).await?;
        answer::json(&received, self.http.now())
    }

    async fn received(&self, kind: RequestKind, url: Url) -> Result<Received, Failure> {
        self.call(Call::get(kind, url)).await.map_err(|failed| Failure::Broken(failed.into()))
    }
}

impl Target for HttpTarget {
    async fn free_in(&self) -> Option<Duration> {
        self.limiter.as_ref()?.free_in().await
    }

    /// A target that has no such document (404, 405, 501) gets the defaults of [`Advertised`]; the plural name of SCIM 1.1,
    /// which some kept, is tried too. What the profile knows better counts. Where the profile has none asked, a user is
    /// listed instead: that it answers is what a probe wants to know.
    async fn discover(&self) -> Result<Capabilities, Failure> {
        if !self.profile.discovery.ask {
            let url = self.url(&format!("/{}", self.dialect.users.segment), Some("startIndex=1&count=1"));
            self.document(RequestKind::Discovery, url).await?;
            return Ok(self.profile.overridden(Advertised::default().into()));
        }
        for path in [self.profile.discovery.path.as_str(), "/ServiceProviderConfigs"] {
            match self.document(RequestKind::Discovery, self.url(path, None)).await {
                Ok(document) => {
                    let advertised =
                        capabilities::read(&document).ok_or(answer::broken(Unknown::Unreadable))?;
                    self.max_results.store(advertised.filter.unwrap_or(0), Ordering::Relaxed);
                    return Ok(self.profile.overridden(advertised.into()));
                }
                Err(Failure::Answered(Answer { status: 404 | 405 | 501, .. })) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(self.profile.overridden(Advertised::default().into()))
    }

    async fn send(&self, operations: &[Operation], transport: Transport, deadline: Instant) -> Reply {
        match transport {
            _ if operations.is_empty() => Reply::Each(Vec::new()),
            Transport::Bulk => self.bulk(operations, deadline).await,
            Transport::Single => self.single(operations, deadline).await,
        }
    }

    async fn find(&self, kind: ResourceType, queries: &[Query]) -> Result<Vec<Value>, Failure> {
        self.find_all(kind, queries).await
    }

    async fn read(&self, kind: ResourceType, id: &TargetId) -> Result<Answer, Failure> {
        let path = format!("/{}/{}", self.dialect.of(kind).segment, percent::encode(id.as_str()));
        let received = self.received(RequestKind::Lookup, self.url(&path, None)).await?;
        answer::resource(&received, self.http.now())
    }

    async fn count(&self, kind: ResourceType) -> Result<Option<u64>, Failure> {
        self.count_all(kind).await
    }
}

impl From<Advertised> for Capabilities {
    fn from(advertised: Advertised) -> Self {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Capabilities {
            bulk: advertised.bulk.map(|bulk| BulkLimits {
                max_operations: size(bulk.max_operations),
                max_bytes: size(bulk.max_bytes),
            }),
            patch: advertised.patch,
            etag: advertised.etag,
            filter: advertised.filter,
        }
    }
}

/// Whether what happened to one single request would happen to the next one too.
fn is_for_all(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::NotSent(
            NotSent::Connect(_)
            | NotSent::Tls(_)
            | NotSent::Token(_)
            | NotSent::Deadline
            | NotSent::Budget(_),
        ) => true,
        Outcome::Answered(answer) => match answer.status {
            401 | 429 => true,
            503 => answer.retry_after.is_some(),
            _ => false,
        },
        Outcome::Unknown(_) => false,
    }
}

fn is_too_many(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(answer) if answer.status == 429)
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

fn http_method(method: Method) -> HttpMethod {
    match method {
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
        Method::Patch => HttpMethod::PATCH,
        Method::Delete => HttpMethod::DELETE,
    }
}
