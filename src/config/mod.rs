//! Configuration: parsed once, completely, from a text and the environment; all problems together, each with its key.

pub mod document;
pub mod keys;
mod reader;
mod sections;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use self::reader::Reader;
use self::value::Sources;
use crate::core::budget;
use crate::core::conflict::Policy;
use crate::core::guard::Limits;
use crate::target::Profile;

/// Environment variables with this prefix override keys: `SCIM_RELAY__SECTION__KEY`.
pub const OVERRIDE: &str = "SCIM_RELAY__";

/// Something wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// All that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the configuration has {} problem{}",
            self.0.len(),
            if self.0.len() == 1 { "" } else { "s" }
        )?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.key, problem.what))
    }
}

/// Files of a TLS client.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM of the CA.
    pub ca: Option<String>,
    /// PEM of the client's certificate and key.
    pub client: Option<(String, String)>,
}

/// `[amqp]`.
#[derive(Clone, Debug)]
pub struct Amqp {
    /// Where the broker is.
    pub url: Url,
    /// Overrides the URL's user.
    pub username: Option<String>,
    /// Overrides the URL's password.
    pub password: Option<SecretString>,
    /// For amqps.
    pub tls: TlsFiles,
    /// The publishers' exchange.
    pub exchange: String,
    /// Keys that are relayed.
    pub bindings: Vec<String>,
    /// Keys that overtake.
    pub urgent_bindings: Vec<String>,
    /// Unacknowledged deliveries per queue.
    pub prefetch: u16,
    /// Largest event, in bytes.
    pub max_event_bytes: usize,
    /// Deliveries before the broker gives up.
    pub delivery_limit: u32,
}

/// `[redis]`.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where Redis is; several nodes in cluster mode.
    pub urls: Vec<String>,
    /// Cluster mode.
    pub cluster: bool,
    /// For rediss.
    pub tls: TlsFiles,
    /// First part of every key.
    pub key_prefix: String,
    /// `redis.tombstone_ttl`.
    pub tombstone_ttl: Duration,
}

/// `[target.auth]`.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Nothing is sent.
    None,
    /// A fixed token.
    Bearer(SecretString),
    /// OAuth2 client credentials.
    ClientCredentials {
        /// The token endpoint.
        token_url: Url,
        /// The client.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
        /// True: in the body (`client_secret_post`).
        post: bool,
        /// The scope.
        scope: Option<String>,
        /// Renewal before expiry.
        refresh_before: Duration,
    },
    /// An access key of NICE CXone.
    AccessKey {
        /// The token endpoint.
        token_url: Url,
        /// The key's id.
        access_key_id: String,
        /// Its secret.
        access_key_secret: SecretString,
        /// Renewal before expiry.
        refresh_before: Duration,
    },
}

/// `[target]`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its SCIM base URL.
    pub base_url: Url,
    /// What is special about it.
    pub profile: Arc<Profile>,
    /// For https.
    pub tls: TlsFiles,
    /// Of a single request.
    pub timeout: Duration,
    /// Of a bulk request.
    pub bulk_timeout: Duration,
    /// Nothing is written.
    pub read_only: bool,
    /// Never written.
    pub protected: Vec<String>,
    /// Until the late re-read.
    pub late_window: Duration,
    /// How to authenticate.
    pub auth: Auth,
}

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[amqp]`.
    pub amqp: Amqp,
    /// `[redis]`.
    pub redis: Redis,
    /// `events.max_clock_skew`.
    pub max_clock_skew: Duration,
    /// `events.wait_for_base`.
    pub wait_for_base: Duration,
    /// `references.user`.
    pub reference: String,
    /// `references.wait`.
    pub reference_wait: Duration,
    /// `[target]`.
    pub target: Target,
    /// `matching.adopt = "unclaimed"`.
    pub adopt: bool,
    /// `flush.mode`.
    pub mode: String,
    /// `flush.max_operations`.
    pub max_operations: usize,
    /// `flush.max_bytes`.
    pub max_bytes: usize,
    /// `flush.linger`.
    pub linger: Duration,
    /// `flush.catch_up`.
    pub catch_up: Duration,
    /// `flush.concurrency`.
    pub concurrency: usize,
    /// `[limits]`.
    pub limits: budget::Limits,
    /// `retry.delays`.
    pub delays: Vec<Duration>,
    /// `retry.max_attempts`.
    pub max_attempts: u32,
    /// `deprovision.user`.
    pub deprovision_user: String,
    /// `deprovision.group`.
    pub deprovision_group: String,
    /// `deprovision.memberships`.
    pub memberships: String,
    /// `deprovision.guard`; none: false.
    pub guard: Option<Limits>,
    /// `deprovision.held_expires_after`.
    pub held_expires_after: Duration,
    /// `[conflict]`: who is right about what somebody else changed.
    pub conflict: Policy,
    /// `conflict.members`.
    pub members: String,
    /// `journal.enabled`.
    pub journal_enabled: bool,
    /// `journal.max_age`.
    pub journal_max_age: Duration,
    /// `journal.max_bytes`.
    pub journal_max_bytes: u64,
    /// `dead.parked_ttl`.
    pub parked_ttl: Duration,
    /// `admin.listen`.
    pub listen: std::net::SocketAddr,
    /// `shutdown.timeout`.
    pub shutdown_timeout: Duration,
}

impl Config {
    /// Parses a configuration. `read` reads the files that secrets name.
    pub fn parse(
        text: &str,
        environment: &BTreeMap<String, String>,
        read: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let sources = Sources { environment, read };
        let mut reader = Reader::default();
        reader.read_defaults(&sources);
        let table = text.parse::<toml::Table>();
        match &table {
            Ok(table) => reader.read_table("", table, &sources),
            Err(error) => reader.problem("(file)", not_toml(text, error)),
        }
        reader.read_environment(&sources);
        if table.is_ok() {
            reader.check_required();
        }
        let config = reader.build();
        reader.problems.sort();
        reader.problems.dedup();
        match (config, reader.problems.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(ConfigError(reader.problems)),
        }
    }
}

/// Where and why, without the line itself: it may hold a URL with a password.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
    let (line, column) =
        (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1);
    format!("is not TOML: line {line} column {column}: {}", error.message().replace('\n', ", "))
}
