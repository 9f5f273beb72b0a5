//! One attempt on the wire: a request out, its answer in, both within limits.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::HeaderMap;
use reqwest::{Method, redirect, retry};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::failure::{self, Failed};
use super::observer::{Observer, RequestKind, Seen};
use super::options::{BuildError, TargetOptions};
use crate::core::budget::Micros;
use crate::core::outcome::{NotSent, Unknown};
use secrecy::ExposeSecret;

/// Longest answer that is read, in bytes. A bulk response of 1,000 whole resources is about 2 MiB.
pub(super) const MAX_RESPONSE_BYTES: usize = 32 * 1024 * 1024;

/// Longest time to get a connection; half of the request's timeout if that is shorter, so that a dead host is told from a slow one.
const MAX_CONNECT: Duration = Duration::from_secs(10);

/// Idle connections are closed by us before most servers do (Node's default is 5 s): a request that meets a closing connection
/// is an unknown outcome, which costs far more than a handshake.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// `scim-relay/0.1.0`; some targets refuse requests without one.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The HTTP client, who is told about requests, and the clock for dates in headers.
pub(super) struct Http {
    client: reqwest::Client,
    observer: Arc<dyn Observer>,
    now: fn() -> SystemTime,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// A request to be sent once.
pub(super) struct Attempt<'a> {
    pub kind: RequestKind,
    pub method: Method,
    pub url: &'a Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    pub timeout: Duration,
    pub max_response_bytes: usize,
    /// How long the claims hold.
    pub deadline: Option<Instant>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Payload,
    /// The place in the budget that the request had.
    pub place: Option<Micros>,
}

/// An answer's body.
#[derive(Debug)]
pub(super) enum Payload {
    /// All of it.
    Whole(Vec<u8>),
    /// It broke off, was too long or too slow.
    Cut(Unknown),
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Payload::Whole(bytes) => bytes.len(),
            Payload::Cut(_) => 0,
        }
    }
}

impl Http {
    pub(super) fn new(
        options: &TargetOptions,
        https: bool,
        observer: Arc<dyn Observer>,
        now: fn() -> SystemTime,
    ) -> Result<Self, BuildError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(options.profile.http.user_agent.as_deref().unwrap_or(USER_AGENT))
            .redirect(redirect::Policy::none())
            // every send looks at the deadline first, so resends are ours to make
            .retry(retry::never())
            .referer(false)
            .connect_timeout(MAX_CONNECT.min(options.timeout / 2))
            .pool_idle_timeout(POOL_IDLE);
        if is_loopback(&options.base_url) {
            builder = builder.no_proxy();
        }
        if let Some(pem) = &options.tls.ca_pem {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(BuildError::Authorities)?;
            builder = builder.tls_certs_merge(authorities);
        } else if !https {
            // spares reading the system's certificates, which may be missing altogether
            builder = builder.tls_certs_only([]);
        }
        if let Some(pem) = &options.tls.identity_pem {
            let identity = reqwest::Identity::from_pem(pem.expose_secret().as_bytes());
            builder = builder.identity(identity.map_err(BuildError::Identity)?);
        }
        Ok(Self { client: builder.build().map_err(BuildError::Client)?, observer, now })
    }

    /// The time of day, for headers that name one.
    pub(super) fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// A request has waited for its place in the budget.
    pub(super) fn waited(&self, wait: Duration) {
        self.observer.waited(wait);
    }

    /// Sends a request once. What has a status is an answer, even if its body broke off.
    pub(super) async fn attempt(&self, attempt: Attempt<'_>) -> Result<Received, Failed> {
        if attempt.deadline.is_some_and(is_past) {
            return Err(Failed::NotSent(NotSent::Deadline));
        }
        let (kind, start) = (attempt.kind, now());
        let sent_bytes = attempt.body.as_ref().map_or(0, Bytes::len);
        let result = self.exchange(attempt, start).await;
        self.observer.request(Seen {
            kind,
            status: result.as_ref().ok().map(|received| received.status),
            elapsed: now().duration_since(start),
            sent_bytes,
            received_bytes: result.as_ref().map_or(0, |received| received.body.len()),
        });
        result
    }

    async fn exchange(&self, attempt: Attempt<'_>, start: Instant) -> Result<Received, Failed> {
        let end = start + attempt.timeout;
        let expired = Arc::new(AtomicBool::new(false));
        let mut request = self.client.request(attempt.method, attempt.url.clone()).headers(attempt.headers);
        if let Some(bytes) = attempt.body {
            let fence =
                Fenced { bytes: Some(bytes), deadline: attempt.deadline, expired: Arc::clone(&expired) };
            request = request.body(reqwest::Body::wrap(fence));
        }
        let response = match timeout_at(end, request.send()).await {
            Ok(Ok(response)) => response,
            _ if expired.load(Ordering::Acquire) => return Err(Failed::NotSent(NotSent::Deadline)),
            Ok(Err(error)) => return Err(failure::classify(&error)),
            Err(_elapsed) => return Err(Failed::Unknown(Unknown::Timeout)),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match timeout_at(end, read(response, attempt.max_response_bytes)).await {
            Ok(body) => body,
            Err(_elapsed) => Payload::Cut(Unknown::Timeout),
        };
        Ok(Received { status, headers, body, place: None })
    }
}

async fn read(mut response: reqwest::Response, limit: usize) -> Payload {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Payload::Cut(Unknown::Unreadable);
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
            Ok(None) => return Payload::Whole(body),
            Ok(Some(_)) | Err(_) => return Payload::Cut(Unknown::Unreadable),
        }
    }
}

/// A request's body that looks at the deadline once more when it is about to be written, after a connection was found: a
/// request without its body is not processed. (A DELETE has none; there the check before connecting has to do.)
struct Fenced {
    bytes: Option<Bytes>,
    deadline: Option<Instant>,
    expired: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
#[error("the deadline passed before the request could be sent")]
struct Expired;

impl Body for Fenced {
    type Data = Bytes;
    type Error = Expired;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Expired>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if self.deadline.is_some_and(is_past) {
            self.expired.store(true, Ordering::Release);
            return Poll::Ready(Some(Err(Expired)));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

fn is_past(deadline: Instant) -> bool {
    now() >= deadline
}

/// The one place of this module that reads the monotonic clock.
#[allow(
    clippy::disallowed_methods,
    reason = "deadlines of requests are instants of the runtime, paused with it in tests"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Proxies from the environment are never meant for this machine itself.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(fence: &mut Fenced) -> Poll<Option<Result<Frame<Bytes>, Expired>>> {
        Pin::new(fence).poll_frame(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_not_written_once_the_deadline_has_passed() {
        let make = || Fenced {
            bytes: Some(Bytes::from_static(b"{}")),
            deadline: Some(now() + Duration::from_secs(1)),
            expired: Arc::default(),
        };
        let (mut early, mut late) = (make(), make());
        assert_eq!(early.size_hint().exact(), Some(2));
        assert!(matches!(poll(&mut early), Poll::Ready(Some(Ok(_)))));
        assert!(early.is_end_stream() && !early.expired.load(Ordering::Acquire));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(poll(&mut late), Poll::Ready(Some(Err(Expired)))));
        assert!(late.expired.load(Ordering::Acquire));
    }

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        for (url, loopback) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]/", true),
            ("http://LOCALHOST/", true),
            ("https://scim.example/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }
}
