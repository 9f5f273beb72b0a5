//! Configuration: parsed once, completely, from a text and the environment; all problems together, each with its key.

pub mod document;
pub mod keys;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use toml::Value;
use url::Url;

use self::keys::{KEYS, Kind, find, similar};
use self::value::{Parsed, Sources, parse, parse_text};

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
}

/// `[target]`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its SCIM base URL.
    pub base_url: Url,
    /// For https.
    pub tls: TlsFiles,
    /// Of a single request.
    pub timeout: Duration,
    /// Of a bulk request.
    pub bulk_timeout: Duration,
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
    /// `retry.delays`.
    pub delays: Vec<Duration>,
    /// `retry.max_attempts`.
    pub max_attempts: u32,
    /// `deprovision.user`.
    pub deprovision_user: String,
    /// `deprovision.group`.
    pub deprovision_group: String,
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

/// Values by path, and what is wrong so far.
struct Reader {
    values: BTreeMap<&'static str, Parsed>,
    problems: Vec<Problem>,
}

impl Config {
    /// Parses a configuration. `read` reads the files that secrets name.
    pub fn parse(
        text: &str,
        environment: &BTreeMap<String, String>,
        read: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let sources = Sources { environment, read };
        let mut reader = Reader { values: BTreeMap::new(), problems: Vec::new() };
        reader.read_defaults(&sources);
        match text.parse::<toml::Table>() {
            Ok(table) => reader.read_table("", &table, &sources),
            Err(error) => reader.problem("(file)", error.to_string().trim().replace('\n', "\n    ")),
        }
        reader.read_environment(&sources);
        reader.check_required();
        let config = reader.build();
        reader.problems.sort();
        reader.problems.dedup();
        match (config, reader.problems.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(ConfigError(reader.problems)),
        }
    }
}

impl Reader {
    fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), what: what.into() });
    }

    fn take(&mut self, path: &'static str, parsed: Result<Parsed, String>) {
        match parsed {
            Ok(parsed) => drop(self.values.insert(path, parsed)),
            Err(what) => self.problem(path, what),
        }
    }

    fn read_defaults(&mut self, sources: &Sources<'_>) {
        for key in KEYS {
            if let Some(default) = key.default {
                self.take(key.path, parse_text(key.kind, default, sources));
            }
        }
    }

    fn read_table(&mut self, prefix: &str, table: &toml::Table, sources: &Sources<'_>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match (find(&path), value) {
                (Some(key), value) => self.take(key.path, parse(key.kind, value, sources)),
                (None, Value::Table(inner)) if is_section(&path) => self.read_table(&path, inner, sources),
                (None, _) => self.unknown(&path),
            }
        }
    }

    fn unknown(&mut self, path: &str) {
        let hint = similar(path).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        self.problem(path, format!("unknown key{hint}"));
    }

    fn read_environment(&mut self, sources: &Sources<'_>) {
        for (name, text) in sources.environment {
            let Some(rest) = name.strip_prefix(OVERRIDE) else { continue };
            let path = rest.to_ascii_lowercase().replace("__", ".");
            match find(&path) {
                Some(key) => {
                    let parsed = parse_text(key.kind, text, sources);
                    self.take(key.path, parsed.map_err(|what| format!("{what} (from {name})")));
                }
                None => {
                    let hint =
                        similar(&path).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
                    self.problem(name, format!("overrides the unknown key `{path}`{hint}"));
                }
            }
        }
    }

    fn check_required(&mut self) {
        for key in KEYS.iter().filter(|key| key.required) {
            let broken = self.problems.iter().any(|problem| problem.key == key.path);
            if !self.values.contains_key(key.path) && !broken {
                self.problem(key.path, format!("is required: {}", key.doc));
            }
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.values.get(path)? {
            Parsed::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn url(&self, path: &str) -> Option<Url> {
        match self.values.get(path)? {
            Parsed::Url(url) => Some(url.clone()),
            _ => None,
        }
    }

    fn flag(&self, path: &str) -> bool {
        matches!(self.values.get(path), Some(Parsed::Bool(true)))
    }

    fn number<N: TryFrom<u64>>(&self, path: &str) -> Option<N> {
        match self.values.get(path)? {
            Parsed::Number(number) => N::try_from(*number).ok(),
            _ => None,
        }
    }

    fn span(&self, path: &str) -> Option<Duration> {
        match self.values.get(path)? {
            Parsed::Duration(span) => Some(*span),
            _ => None,
        }
    }

    fn texts(&self, path: &str) -> Option<Vec<String>> {
        match self.values.get(path)? {
            Parsed::Texts(texts) => Some(texts.clone()),
            _ => None,
        }
    }

    fn secret(&self, path: &str) -> Option<SecretString> {
        match self.values.get(path)? {
            Parsed::Secret(secret) => Some(secret.clone()),
            _ => None,
        }
    }

    /// The files of one section; a certificate needs its key.
    fn tls(&mut self, section: &str) -> TlsFiles {
        let file = |reader: &Self, name: &str| reader.text(&format!("{section}.{name}"));
        let (certificate, key) = (file(self, "client_certificate_file"), file(self, "client_key_file"));
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.problem(
                    &format!("{section}.client_key_file"),
                    "is required with client_certificate_file",
                );
                None
            }
            (None, Some(_)) => {
                self.problem(
                    &format!("{section}.client_certificate_file"),
                    "is required with client_key_file",
                );
                None
            }
        };
        TlsFiles { ca: file(self, "ca_file"), client }
    }

    /// None: something is missing, and a problem says what.
    fn build(&mut self) -> Option<Config> {
        let amqp = self.amqp();
        let redis = self.redis();
        let target = self.target();
        let listen = self.listen();
        let delays = match self.values.get("retry.delays")? {
            Parsed::Durations(delays) => delays.clone(),
            _ => return None,
        };
        Some(Config {
            amqp: amqp?,
            redis: redis?,
            max_clock_skew: self.span("events.max_clock_skew")?,
            wait_for_base: self.span("events.wait_for_base")?,
            reference: self.text("references.user")?,
            reference_wait: self.span("references.wait")?,
            target: target?,
            adopt: self.text("matching.adopt")? == "unclaimed",
            mode: self.text("flush.mode")?,
            max_operations: self.number("flush.max_operations")?,
            max_bytes: self.number("flush.max_bytes")?,
            linger: self.span("flush.linger")?,
            catch_up: self.span("flush.catch_up")?,
            concurrency: self.number("flush.concurrency")?,
            delays,
            max_attempts: self.number("retry.max_attempts")?,
            deprovision_user: self.text("deprovision.user")?,
            deprovision_group: self.text("deprovision.group")?,
            journal_max_age: self.span("journal.max_age")?,
            journal_max_bytes: self.number("journal.max_bytes")?,
            parked_ttl: self.span("dead.parked_ttl")?,
            listen: listen?,
            shutdown_timeout: self.span("shutdown.timeout")?,
        })
    }

    fn amqp(&mut self) -> Option<Amqp> {
        let tls = self.tls("amqp");
        Some(Amqp {
            url: self.url("amqp.url")?,
            username: self.text("amqp.username"),
            password: self.secret("amqp.password"),
            tls,
            exchange: self.text("amqp.exchange")?,
            bindings: self.texts("amqp.bindings")?,
            urgent_bindings: self.texts("amqp.urgent_bindings")?,
            prefetch: self.number("amqp.prefetch")?,
            max_event_bytes: self.number("amqp.max_event_bytes")?,
            delivery_limit: self.number("amqp.delivery_limit")?,
        })
    }

    fn redis(&mut self) -> Option<Redis> {
        let tls = self.tls("redis");
        let cluster = self.text("redis.mode")? == "cluster";
        let urls = match (cluster, self.texts("redis.urls")) {
            (true, Some(urls)) => urls,
            (true, None) | (false, None) => vec![self.url("redis.url")?.to_string()],
            (false, Some(_)) => {
                self.problem("redis.urls", "is for mode = \"cluster\": use redis.url");
                return None;
            }
        };
        for url in &urls {
            let good = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss"));
            if !good {
                self.problem("redis.urls", "must hold URLs that begin with redis:// or rediss://");
            }
        }
        Some(Redis { urls, cluster, tls, key_prefix: self.text("redis.key_prefix")? })
    }

    fn target(&mut self) -> Option<Target> {
        let tls = self.tls("target");
        let base_url = self.url("target.base_url");
        let token_url = self.url("target.auth.token_url");
        for (path, url) in [("target.base_url", &base_url), ("target.auth.token_url", &token_url)] {
            let Some(url) = url else { continue };
            if url.scheme() == "http" && !is_loopback(url) && !self.flag("target.allow_http") {
                self.problem(path, "http beyond this machine sends secrets in the clear: use https, or set target.allow_http = true");
            }
            if !url.username().is_empty() || url.password().is_some() {
                self.problem(path, "must not hold credentials: use [target.auth]");
            }
        }
        let auth = self.auth(token_url);
        Some(Target {
            name: self.text("target.name")?,
            base_url: base_url?,
            tls,
            timeout: self.span("target.timeout")?,
            bulk_timeout: self.span("target.bulk_timeout")?,
            late_window: self.span("target.late_window")?,
            auth: auth?,
        })
    }

    fn auth(&mut self, token_url: Option<Url>) -> Option<Auth> {
        let kind = self.text("target.auth.kind")?;
        let need = |reader: &mut Self, key: &str, there: bool| {
            let path = format!("target.auth.{key}");
            if !there && !reader.problems.iter().any(|problem| problem.key == path) {
                reader.problem(&path, format!("is required with kind = \"{kind}\""));
            }
        };
        match kind.as_str() {
            "bearer" => {
                let token = self.secret("target.auth.token");
                need(self, "token", token.is_some());
                Some(Auth::Bearer(token?))
            }
            "oauth2-client-credentials" => {
                let (client_id, client_secret) =
                    (self.text("target.auth.client_id"), self.secret("target.auth.client_secret"));
                need(self, "token_url", token_url.is_some());
                need(self, "client_id", client_id.is_some());
                need(self, "client_secret", client_secret.is_some());
                Some(Auth::ClientCredentials {
                    token_url: token_url?,
                    client_id: client_id?,
                    client_secret: client_secret?,
                    post: self.text("target.auth.client_auth")? == "client_secret_post",
                    scope: self.text("target.auth.scope"),
                    refresh_before: self.span("target.auth.refresh_before")?,
                })
            }
            _ => Some(Auth::None),
        }
    }

    fn listen(&mut self) -> Option<std::net::SocketAddr> {
        let text = self.text("admin.listen")?;
        match text.replace("localhost:", "127.0.0.1:").parse() {
            Ok(listen) => Some(listen),
            Err(_) => {
                self.problem("admin.listen", "must be an address and a port such as \"127.0.0.1:9464\"");
                None
            }
        }
    }
}

/// True if keys lie below this path.
fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// True for a secret: the example shows how to name it.
pub fn is_secret(kind: Kind) -> bool {
    kind == Kind::Secret
}
