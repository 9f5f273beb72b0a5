//! Connections. lapin's own recovery is off: it hands out stale deliveries without an error. A session that breaks is
//! dropped, and its owner builds another.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::Instant;
use url::Url;

/// Seconds between heartbeats: a dead peer is noticed after two of them.
const HEARTBEAT_SECONDS: u16 = 15;
/// Longest wait for a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// First and longest wait between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// How to reach the broker.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// `amqp://` or `amqps://`, with the virtual host as its path.
    pub url: Url,
    /// Overrides the user of the URL.
    pub username: Option<String>,
    /// Overrides the password of the URL.
    pub password: Option<secrecy::SecretString>,
    /// PEM of the CA that signed the broker's certificate.
    pub ca_pem: Option<String>,
    /// PEM of a client certificate, and of its key.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// Shown in the broker's management.
    pub name: String,
}

/// Why the broker could not be reached, or refused.
#[derive(Debug, thiserror::Error)]
#[error("RabbitMQ at {address}: {what}: {source}")]
pub struct BrokerError {
    /// Without user and password.
    pub address: String,
    /// What was being done.
    pub what: String,
    /// Why it failed.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl BrokerError {
    /// True if the broker was reached, and something does not exist there.
    pub fn is_not_found(&self) -> bool {
        self.source.downcast_ref().is_some_and(is_not_found)
    }
}

impl BrokerOptions {
    /// The address without user and password.
    pub fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or("localhost");
        let port = self.url.port().unwrap_or(if self.url.scheme() == "amqps" { 5671 } else { 5672 });
        format!("{}://{host}:{port}{}", self.url.scheme(), self.url.path())
    }

    pub(super) fn error(
        &self,
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> BrokerError {
        BrokerError { address: self.address(), what: what.to_owned(), source: source.into() }
    }

    fn uri(&self) -> Result<AMQPUri, BrokerError> {
        use secrecy::ExposeSecret;
        let mut uri: AMQPUri =
            self.url.as_str().parse().map_err(|error: String| self.error("parse amqp.url", error))?;
        if let Some(username) = &self.username {
            uri.authority.userinfo.username.clone_from(username);
        }
        if let Some(password) = &self.password {
            password.expose_secret().clone_into(&mut uri.authority.userinfo.password);
        }
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        Ok(uri)
    }

    fn tls(&self) -> OwnedTLSConfig {
        let identity = self.client_pem.clone().map(|(pem, key)| OwnedIdentity::PKCS8 { pem, key });
        OwnedTLSConfig { identity, cert_chain: self.ca_pem.clone() }
    }

    /// Connects once.
    pub async fn connect(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let uri = self.uri()?;
        let properties =
            ConnectionProperties::default().with_connection_name(format!("{} {purpose}", self.name).into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| self.error("connect", error))?;
        let connecting = Connection::connect_uri_with_config(uri, properties, self.tls(), runtime);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.error("connect", error)),
            Err(_) => Err(self.error("connect", format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }
}

/// True for the broker's answer that a queue or exchange does not exist.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    // the broker's words, and lapin's name of their number
    let text = error.to_string();
    text.contains("NOT_FOUND") || text.contains("NOT-FOUND")
}

/// Waits between attempts, without end: doubling, with jitter.
pub(super) fn backoff() -> impl Iterator<Item = Duration> + Send {
    let (first, longest) = BACKOFF;
    let builder = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest);
    builder.without_max_times().with_jitter().build()
}

/// The one place of the broker that reads the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "liveness and publish timeouts are instants of the runtime")]
pub(super) fn now() -> Instant {
    Instant::now()
}
