//! From what was received to what it means, still without deciding anything.

#![allow(clippy::result_large_err, reason = "the port's failure carries a whole answer, once per request")]

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, ETAG, HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::Value;

use super::exchange::{Payload, Received};
use crate::core::operation::Method;
use crate::core::outcome::{Answer, Outcome, Unknown};
use crate::core::resource::ETag;
use crate::pipeline::ports::Failure;
use crate::scim::error::ScimError;
use crate::scim::{error, lenient, resource, retry_after};

/// The outcome of a single write.
///
/// Unknown where a success can't be understood: a body that is no JSON object, that broke off or is an error message, and
/// a create that does not say which id it made.
pub(super) fn written(method: Method, received: &Received, now: SystemTime) -> Outcome {
    if !is_success(received.status) {
        return Outcome::Answered(refused(received, now));
    }
    match done(received) {
        Ok(answer) if method == Method::Post && answer.id.is_none() => Outcome::Unknown(Unknown::Unreadable),
        Ok(answer) => Outcome::Answered(answer),
        Err(unknown) => Outcome::Unknown(unknown),
    }
}

/// The answer to a GET of one resource.
pub(super) fn resource(received: &Received, now: SystemTime) -> Result<Answer, Failure> {
    if !is_success(received.status) {
        return Err(Failure::Answered(refused(received, now)));
    }
    match done(received) {
        Ok(answer) if answer.resource.is_some() => Ok(answer),
        Ok(_) => Err(broken(Unknown::Unreadable)),
        Err(unknown) => Err(broken(unknown)),
    }
}

/// The JSON of a successful answer.
pub(super) fn json(received: &Received, now: SystemTime) -> Result<Value, Failure> {
    if !is_success(received.status) {
        return Err(Failure::Answered(refused(received, now)));
    }
    match &received.body {
        Payload::Cut(unknown) => Err(broken(*unknown)),
        Payload::Whole(bytes) => lenient::parse(bytes).ok_or(broken(Unknown::Unreadable)),
    }
}

/// A failure to get a usable answer.
pub(super) fn broken(unknown: Unknown) -> Failure {
    Failure::Broken(Outcome::Unknown(unknown))
}

/// 2xx.
pub(super) fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn done(received: &Received) -> Result<Answer, Unknown> {
    let body = match &received.body {
        Payload::Cut(unknown) => return Err(*unknown),
        Payload::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => None,
        Payload::Whole(bytes) => match lenient::parse(bytes) {
            Some(body) if body.is_object() && !error::is_error_message(&body) => Some(body),
            Some(_) | None => return Err(Unknown::Unreadable),
        },
    };
    let location = || resource::locate(text(&received.headers, LOCATION.as_str())?);
    let header = || ETag::new(text(&received.headers, ETAG.as_str())?);
    Ok(Answer {
        status: received.status,
        id: body.as_ref().and_then(resource::id).or_else(|| location().map(|located| located.id)),
        etag: body.as_ref().and_then(resource::version).or_else(header),
        resource: body,
        ..Answer::default()
    })
}

/// An answer that is no success, redirects included.
pub(super) fn refused(received: &Received, now: SystemTime) -> Answer {
    let error = match &received.body {
        Payload::Whole(bytes) => error::parse(bytes),
        Payload::Cut(_) => ScimError::default(),
    };
    let in_text = || error.seconds.filter(|_| is_busy(received.status)).map(retry_after::believable);
    Answer {
        status: received.status,
        retry_after: wait(received, now).or_else(in_text),
        scim_type: error.scim_type,
        detail: error.detail,
        scim_error: error.scim_error,
        ..Answer::default()
    }
}

fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 503)
}

/// `Retry-After` on any answer; when a rate limit resets only where it was met.
fn wait(received: &Received, now: SystemTime) -> Option<Duration> {
    let headers = &received.headers;
    let date = text(headers, DATE.as_str());
    let asked = text(headers, RETRY_AFTER.as_str()).and_then(|value| retry_after::parse(value, date, now));
    let reset = || {
        let mut names = ["RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset"].into_iter();
        names.find_map(|name| retry_after::parse_reset(text(headers, name)?, date, now))
    };
    asked.or_else(|| if is_busy(received.status) { reset() } else { None })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn received(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Received {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
        };
        Received {
            status,
            headers: headers.iter().map(header).collect(),
            body: Payload::Whole(body.as_bytes().to_vec()),
            place: None,
        }
    }

    fn outcome(method: Method, received: &Received) -> Outcome {
        written(method, received, SystemTime::UNIX_EPOCH)
    }

    fn answer(method: Method, received: &Received) -> Answer {
        match outcome(method, received) {
            Outcome::Answered(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn id_and_version_come_from_the_body_then_the_headers() {
        let headers = [("location", "/v2/Users/other"), ("etag", "W/\"1\"")];
        let body = r#"{"id":"u1","meta":{"version":"W/\"2\""}}"#;
        let whole = answer(Method::Post, &received(201, &headers, body));
        assert_eq!((whole.id.unwrap().as_str(), whole.etag.unwrap().as_str()), ("u1", "W/\"2\""));
        assert!(whole.resource.is_some());
        let empty = answer(Method::Post, &received(201, &headers, ""));
        assert_eq!((empty.id.unwrap().as_str(), empty.etag.unwrap().as_str()), ("other", "W/\"1\""));
        assert_eq!(empty.resource, None);
        assert_eq!(answer(Method::Patch, &received(204, &[], "")).etag, None);
    }

    #[test]
    fn a_success_that_can_not_be_understood_is_unknown() {
        let error = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400"}"#;
        for body in ["<html>login</html>", "{\"id\":", "\"ok\"", "[]", error] {
            for method in [Method::Post, Method::Put, Method::Patch, Method::Delete] {
                let outcome = outcome(method, &received(200, &[("location", "/Users/u1")], body));
                assert_eq!(outcome, Outcome::Unknown(Unknown::Unreadable), "{method} {body}");
            }
        }
        let nameless = received(201, &[("location", "/v2/Users")], "{}");
        assert_eq!(outcome(Method::Post, &nameless), Outcome::Unknown(Unknown::Unreadable));
        let mut cut = received(200, &[], "");
        cut.body = Payload::Cut(Unknown::Timeout);
        assert_eq!(outcome(Method::Put, &cut), Outcome::Unknown(Unknown::Timeout));
    }

    #[test]
    fn a_refusal_counts_by_its_status_even_if_its_body_broke_off() {
        let mut cut = received(404, &[], "");
        cut.body = Payload::Cut(Unknown::Unreadable);
        let answer = answer(Method::Patch, &cut);
        assert_eq!((answer.status, answer.scim_error), (404, false));
    }

    #[test]
    fn a_refusal_has_no_id_whatever_its_location_says() {
        let body = r#"{"status":"409","scimType":"uniqueness","detail":"taken"}"#;
        let answer = answer(Method::Post, &received(409, &[("location", "/v2/Users/u1")], body));
        assert_eq!((answer.id, answer.scim_type.as_deref()), (None, Some("uniqueness")));
        assert!(answer.scim_error);
    }

    #[test]
    fn the_wait_comes_from_headers_or_the_text() {
        let text = r#"{"status":429,"detail":"Retry the request in [12] seconds"}"#;
        for (status, headers, body, seconds) in [
            (429, &[("retry-after", "7")][..], text, Some(7)),
            (400, &[("retry-after", "7")], "", Some(7)),
            (503, &[("x-ratelimit-reset", "9")], "", Some(9)),
            (400, &[("x-ratelimit-reset", "9")], "", None),
            (429, &[("retry-after", "soon")], text, Some(12)),
            (400, &[], text, None),
            (
                429,
                &[
                    ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"),
                    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ],
                "",
                Some(60),
            ),
        ] {
            let answer = answer(Method::Patch, &received(status, headers, body));
            assert_eq!(answer.retry_after, seconds.map(Duration::from_secs), "{status} {headers:?}");
        }
    }
}
