//! One request with all that belongs to it: the token, a place in the budget for each attempt, a second try after a 401,
//! redirects that stay on the same host.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LOCATION,
};
use tokio::time::Instant;
use url::Url;

use super::client::HttpTarget;
use super::exchange::{Attempt, MAX_RESPONSE_BYTES, Received, now};
use super::failure::Failed;
use super::limiter::Need;
use super::observer::RequestKind;
use super::options::BuildError;
use super::profile::Profile;
use crate::core::budget::Micros;
use crate::core::outcome::NotSent;
use crate::core::resource::ETag;

/// The media types of RFC 7644 s3.1, or of the profile.
#[derive(Debug)]
pub(super) struct MediaTypes {
    sent: HeaderValue,
    accepted: HeaderValue,
}

impl MediaTypes {
    pub(super) fn new(profile: &Profile) -> Result<Self, BuildError> {
        let header = |said: &Option<String>, standard: &'static str, key: &'static str| match said {
            Some(text) => HeaderValue::from_str(text).map_err(|_| BuildError::Header(key)),
            None => Ok(HeaderValue::from_static(standard)),
        };
        let http = &profile.http;
        Ok(Self {
            sent: header(&http.content_type, "application/scim+json", "content_type")?,
            accepted: header(&http.accept, "application/scim+json, application/json", "accept")?,
        })
    }
}

/// How many redirects are followed.
const MAX_HOPS: u32 = 3;

/// How often a request is sent again that the server refused unprocessed.
const MAX_REFUSALS: u32 = 2;

/// A request.
pub(super) struct Call<'a> {
    pub kind: RequestKind,
    pub method: Method,
    pub url: Url,
    pub if_match: Option<&'a ETag>,
    pub body: Option<Bytes>,
    /// How many operations it carries.
    pub operations: u32,
    /// How long the claims hold; none for what only reads.
    pub deadline: Option<Instant>,
}

impl Call<'_> {
    /// A GET.
    pub(super) fn get(kind: RequestKind, url: Url) -> Self {
        Self { kind, method: Method::GET, url, if_match: None, body: None, operations: 0, deadline: None }
    }

    fn headers(&self, types: &MediaTypes) -> Result<HeaderMap, NotSent> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, types.accepted.clone())]);
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, types.sent.clone());
        }
        if let Some(version) = self.if_match {
            let unusable = |_| NotSent::Connect("the version can't be sent in a header".to_owned());
            headers.insert(IF_MATCH, HeaderValue::from_str(version.as_str()).map_err(unusable)?);
        }
        Ok(headers)
    }
}

/// What changes between the attempts of one call.
struct Progress {
    renewed: bool,
    hops: u32,
    refusals: u32,
}

impl HttpTarget {
    /// Sends a request. Before every attempt it waits for a place in the budget, and then looks at the deadline.
    pub(super) async fn call(&self, mut call: Call<'_>) -> Result<Received, Failed> {
        let mut headers = call.headers(&self.media_types).map_err(Failed::NotSent)?;
        let mut token = self.auth.token(&self.http).await.map_err(Failed::NotSent)?;
        let mut progress = Progress { renewed: false, hops: 0, refusals: 0 };
        loop {
            if let Some(token) = &token {
                headers.insert(AUTHORIZATION, token.header.clone());
            }
            let place = self.place(&call).await.map_err(Failed::NotSent)?;
            let mut received = match self.http.attempt(self.attempt(&call, &headers)).await {
                Err(Failed::Refused) if progress.refusals < MAX_REFUSALS => {
                    progress.refusals += 1;
                    continue;
                }
                result => result?,
            };
            received.place = place;
            if received.status == 429 {
                self.too_many(place).await;
            }
            if let (401, Some(refused), false) = (received.status, &token, progress.renewed) {
                match self.auth.replace(&self.http, refused).await.map_err(Failed::NotSent)? {
                    Some(fresh) => token = Some(fresh),
                    None => return Ok(received),
                }
                progress.renewed = true;
            } else if let (Some(next), true) = (redirect(&call.url, &received), progress.hops < MAX_HOPS) {
                call.url = next;
                progress.hops += 1;
            } else {
                return Ok(received);
            }
        }
    }

    /// Waits for a place in the budget.
    async fn place(&self, call: &Call<'_>) -> Result<Option<Micros>, NotSent> {
        let Some(limiter) = &self.limiter else { return Ok(None) };
        let probe = call.kind == RequestKind::Discovery;
        let start = now();
        let need = Need { operations: call.operations, deadline: call.deadline, probe };
        let place = limiter.place(need).await;
        self.http.waited(now().duration_since(start));
        place
    }

    /// The target has said 429 to the request that had this place.
    pub(super) async fn too_many(&self, place: Option<Micros>) {
        if let Some(limiter) = &self.limiter {
            limiter.refused(place).await;
        }
    }

    fn attempt<'a>(&self, call: &'a Call<'_>, headers: &HeaderMap) -> Attempt<'a> {
        let timeout = match call.kind {
            RequestKind::Bulk => self.bulk_timeout,
            RequestKind::Single | RequestKind::Lookup | RequestKind::Discovery | RequestKind::Token => {
                self.timeout
            }
        };
        Attempt {
            kind: call.kind,
            method: call.method.clone(),
            url: &call.url,
            headers: headers.clone(),
            body: call.body.clone(),
            timeout,
            max_response_bytes: MAX_RESPONSE_BYTES,
            deadline: call.deadline,
        }
    }
}

/// Where a 307 or 308 leads, if that is the same scheme, host and port: neither token nor data go anywhere else. All other
/// redirects would change the method (RFC 7644 s3.12).
fn redirect(from: &Url, received: &Received) -> Option<Url> {
    if !matches!(received.status, 307 | 308) {
        return None;
    }
    let location = header(&received.headers, LOCATION)?;
    let to = from.join(location).ok()?;
    let bare = to.username().is_empty() && to.password().is_none();
    (to.origin() == from.origin() && bare).then_some(to)
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::exchange::Payload;

    #[test]
    fn redirects_are_followed_on_the_same_host_only_and_only_if_they_keep_the_method() {
        let from = Url::parse("https://x.example/scim/v2/Users").unwrap();
        for (status, location, to) in [
            (307, "/v2/Users", Some("https://x.example/v2/Users")),
            (308, "https://x.example:443/v2/Users", Some("https://x.example/v2/Users")),
            (308, "https://y.example/scim/v2/Users", None),
            (308, "//y.example/scim/v2/Users", None),
            (308, "http://x.example/scim/v2/Users", None),
            (308, "https://x.example:8443/scim/v2/Users", None),
            (308, "https://u:p@x.example/scim/v2/Users", None),
            (308, "https://x.example@y.example/", None),
            (301, "/v2/Users", None),
            (302, "/v2/Users", None),
            (303, "/v2/Users", None),
            (200, "/v2/Users", None),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            let received = Received { status, headers, body: Payload::Whole(Vec::new()), place: None };
            assert_eq!(redirect(&from, &received).as_ref().map(Url::as_str), to, "{status} {location}");
        }
    }
}
