//! Tokens of an endpoint, by OAuth2 client credentials (RFC 6749 s4.4) or an access key: fetched once for all who wait, kept, renewed before they expire.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use super::answer::is_success;
use super::auth::Token;
use super::exchange::{Attempt, Http, Payload, Received, now};
use super::failure::Failed;
use super::observer::RequestKind;
use super::options::{AccessKey, ClientAuth, ClientCredentials};
use crate::core::outcome::{NotSent, Outcome};
use crate::scim::lenient;

/// How long a token is used whose answer names no `expires_in`. (It is only RECOMMENDED, RFC 6749 s5.1; a token that
/// expires sooner costs a 401 and another fetch.)
const ASSUMED_LIFE: Duration = Duration::from_secs(300);

/// Shortest life believed, so that those who waited for a fetch all get to use it.
const MIN_LIFE: Duration = Duration::from_secs(1);

/// Longest life believed.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest time to wait for the token endpoint.
const TIMEOUT: Duration = Duration::from_secs(30);

/// While a token is still good, an early renewal that failed is not tried again before this much later.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// Longest answer of a token endpoint, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What a token is asked for with.
#[derive(Debug)]
pub(super) enum Credentials {
    /// OAuth2 client credentials.
    Client(ClientCredentials),
    /// An access key of NICE CXone.
    AccessKey(AccessKey),
}

impl From<ClientCredentials> for Credentials {
    fn from(credentials: ClientCredentials) -> Self {
        Credentials::Client(credentials)
    }
}

impl From<AccessKey> for Credentials {
    fn from(key: AccessKey) -> Self {
        Credentials::AccessKey(key)
    }
}

impl Credentials {
    fn token_url(&self) -> &Url {
        match self {
            Credentials::Client(client) => &client.token_url,
            Credentials::AccessKey(key) => &key.token_url,
        }
    }

    fn refresh_before(&self) -> Duration {
        match self {
            Credentials::Client(client) => client.refresh_before,
            Credentials::AccessKey(key) => key.refresh_before,
        }
    }

    /// Headers and body of the request.
    fn request(&self) -> (HeaderMap, Bytes) {
        match self {
            Credentials::Client(client) => form(client),
            Credentials::AccessKey(key) => {
                let secret = key.access_key_secret.expose_secret();
                let body = json!({ "accessKeyId": key.access_key_id, "accessKeySecret": secret });
                (headers("application/json"), Bytes::from(body.to_string()))
            }
        }
    }
}

/// A token endpoint and what came from it.
pub(super) struct TokenSource {
    credentials: Credentials,
    current: Mutex<Option<Held>>,
    /// One fetch at a time. What the last one failed with is shared with those who waited for it.
    flight: tokio::sync::Mutex<Option<NotSent>>,
    fetches: AtomicU64,
}

#[derive(Clone)]
struct Held {
    token: Token,
    renew_at: Instant,
    expires_at: Instant,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl TokenSource {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            current: Mutex::new(None),
            flight: tokio::sync::Mutex::new(None),
            fetches: AtomicU64::new(0),
        }
    }

    /// A token that is good now. Renews it early if nobody else does, and goes on with the old one if that fails.
    pub(super) async fn token(&self, http: &Http) -> Result<Token, NotSent> {
        let Some(held) = self.good() else { return self.wait_for_one(http).await };
        if now() < held.renew_at {
            return Ok(held.token);
        }
        let Ok(mut flight) = self.flight.try_lock() else { return Ok(held.token) };
        if let Some(newer) = self.good().filter(|newer| newer.token.generation != held.token.generation) {
            return Ok(newer.token);
        }
        match self.fetch(http, &mut flight).await {
            Ok(token) => Ok(token),
            Err(_) => {
                self.postpone();
                Ok(held.token)
            }
        }
    }

    /// Forgets a token that was refused, unless it was replaced already.
    pub(super) fn invalidate(&self, refused: &Token) {
        self.set(|current| {
            current.take_if(|held| held.token.generation == refused.generation);
        });
    }

    async fn wait_for_one(&self, http: &Http) -> Result<Token, NotSent> {
        let before = self.fetches.load(Ordering::Acquire);
        let mut flight = self.flight.lock().await;
        if let Some(held) = self.good() {
            return Ok(held.token);
        }
        match &*flight {
            Some(failure) if self.fetches.load(Ordering::Acquire) != before => Err(failure.clone()),
            _ => self.fetch(http, &mut flight).await,
        }
    }

    async fn fetch(&self, http: &Http, last_failure: &mut Option<NotSent>) -> Result<Token, NotSent> {
        let result = self.request(http).await;
        let generation = self.fetches.fetch_add(1, Ordering::AcqRel) + 1;
        let result = result.and_then(|granted| self.keep(granted, generation));
        *last_failure = result.as_ref().err().cloned();
        result
    }

    async fn request(&self, http: &Http) -> Result<Granted, NotSent> {
        let (headers, body) = self.credentials.request();
        let attempt = Attempt {
            kind: RequestKind::Token,
            method: Method::POST,
            url: self.credentials.token_url(),
            headers,
            body: Some(body),
            timeout: TIMEOUT,
            max_response_bytes: MAX_ANSWER_BYTES,
            deadline: None,
        };
        let received = http.attempt(attempt).await.map_err(unreachable)?;
        Granted::read(&received).map_err(|reason| NotSent::Token(format!("the token endpoint {reason}")))
    }

    fn keep(&self, granted: Granted, generation: u64) -> Result<Token, NotSent> {
        let unusable =
            || NotSent::Token("the token endpoint sent a token that a header can't carry".to_owned());
        let token = Token::new(&granted.token, generation).ok_or_else(unusable)?;
        let early = self.credentials.refresh_before().min(granted.life / 2);
        let now = now();
        let (renew_at, expires_at) = (now + (granted.life - early), now + granted.life);
        self.set(|current| *current = Some(Held { token: token.clone(), renew_at, expires_at }));
        Ok(token)
    }

    fn postpone(&self) {
        let later = now() + RENEWAL_PAUSE;
        self.set(|current| {
            if let Some(held) = current {
                held.renew_at = later;
            }
        });
    }

    fn good(&self) -> Option<Held> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|held| now() < held.expires_at)
    }

    fn set(&self, change: impl FnOnce(&mut Option<Held>)) {
        change(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The form of RFC 6749 s4.4.2.
fn form(client: &ClientCredentials) -> (HeaderMap, Bytes) {
    let secret = client.client_secret.expose_secret();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &client.scope {
        form.append_pair("scope", scope);
    }
    let mut headers = headers("application/x-www-form-urlencoded");
    match client.client_auth {
        ClientAuth::Basic => {
            headers.insert(AUTHORIZATION, basic(&client.client_id, secret));
        }
        ClientAuth::Post => {
            form.append_pair("client_id", &client.client_id).append_pair("client_secret", secret);
        }
    }
    (headers, Bytes::from(form.finish()))
}

fn headers(content_type: &'static str) -> HeaderMap {
    let values = [(CONTENT_TYPE, content_type), (ACCEPT, "application/json")];
    values.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// HTTP Basic with both parts form-encoded first (RFC 6749 s2.3.1).
fn basic(client_id: &str, secret: &str) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret)));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 fits into a header");
    value.set_sensitive(true);
    value
}

fn unreachable(failed: Failed) -> NotSent {
    NotSent::Token(match Outcome::from(failed) {
        Outcome::NotSent(NotSent::Connect(reason)) => {
            format!("the token endpoint can't be reached: {reason}")
        }
        Outcome::NotSent(NotSent::Tls(reason)) => format!("TLS with the token endpoint failed: {reason}"),
        other => format!("the token endpoint did not answer: {other}"),
    })
}

/// A token as granted.
struct Granted {
    token: SecretString,
    life: Duration,
}

impl Granted {
    /// Reads the answer (RFC 6749 s5). An error says what was wrong without repeating what could be secret.
    fn read(received: &Received) -> Result<Self, String> {
        let body = match &received.body {
            Payload::Whole(bytes) => lenient::parse(bytes),
            Payload::Cut(_) => None,
        };
        if !is_success(received.status) {
            let code = body.as_ref().and_then(error_code).unwrap_or_default();
            return Err(format!("answered {}{code}", received.status));
        }
        let body = body.ok_or("sent no JSON")?;
        if let Some(kind) = ["token_type", "tokenType"]
            .iter()
            .find_map(|name| lenient::text(&body, name))
            .filter(|kind| !kind.eq_ignore_ascii_case("bearer"))
        {
            let known = kind.len() <= 16 && kind.bytes().all(|b| b.is_ascii_alphabetic());
            return Err(format!("sent a token of type {}", if known { kind } else { "unknown" }));
        }
        // RFC 6749 s5.1, and as others spell it; names are compared without regard to case
        let token = ["access_token", "accessToken"].iter().find_map(|name| lenient::text(&body, name));
        let token = token.ok_or("sent no access_token")?;
        let life = ["expires_in", "expiresIn"].iter().find_map(|name| lenient::get(&body, name));
        let life = life.and_then(lenient::whole).map(Duration::from_secs);
        let life = life.unwrap_or(ASSUMED_LIFE).clamp(MIN_LIFE, MAX_LIFE);
        Ok(Self { token: SecretString::from(token.to_owned()), life })
    }
}

/// The error code of RFC 6749 s5.2, if it looks like one.
fn error_code(body: &Value) -> Option<String> {
    let code = lenient::text(body, "error")?;
    let plain = code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| format!(" {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(status: u16, body: &str) -> Received {
        Received {
            status,
            headers: HeaderMap::new(),
            body: Payload::Whole(body.as_bytes().to_vec()),
            place: None,
        }
    }

    #[test]
    fn tokens_are_read_with_the_life_they_name() {
        for (body, life) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#, 3600),
            (r#"{"access_token":"t","expires_in":"3600"}"#, 3600),
            (r#"{"access_token":"t","token_type":"bearer"}"#, 300),
            (r#"{"accessToken":"t","tokenType":"Bearer","expiresIn":"1800"}"#, 1800),
            (r#"{"access_token":"t","expires_in":-1}"#, 300),
            (r#"{"access_token":"t","expires_in":0}"#, 1),
            (r#"{"access_token":"t","expires_in":99999999}"#, 86_400),
        ] {
            let granted =
                Granted::read(&received(200, body)).map_err(|error| format!("{body}: {error}")).unwrap();
            assert_eq!(granted.life, Duration::from_secs(life), "{body}");
        }
    }

    #[test]
    fn errors_of_the_endpoint_repeat_nothing_secret() {
        for (status, body, error) in [
            (
                401,
                r#"{"error":"invalid_client","error_description":"s3cret"}"#,
                "answered 401 invalid_client",
            ),
            (400, r#"{"error":"S3CRET is wrong"}"#, "answered 400"),
            (500, "<html>s3cret</html>", "answered 500"),
            (302, "", "answered 302"),
            (200, "<html>", "sent no JSON"),
            (200, r#"{"token":"s3cret"}"#, "sent no access_token"),
            (200, r#"{"access_token":"s3cret","token_type":"mac"}"#, "sent a token of type mac"),
            (200, r#"{"access_token":"s3cret","token_type":"s3cret!"}"#, "sent a token of type unknown"),
        ] {
            let result = Granted::read(&received(status, body)).map(|granted| granted.life);
            assert_eq!(result, Err(error.to_owned()), "{body}");
        }
    }

    #[test]
    fn basic_credentials_are_form_encoded_first() {
        let header = basic("id:1", "a b&ü");
        assert!(header.is_sensitive());
        let decoded = STANDARD.decode(&header.as_bytes()["Basic ".len()..]).unwrap();
        assert_eq!(decoded, b"id%3A1:a+b%26%C3%BC");
    }
}
