//! Connections to one server or to a cluster. They reconnect by themselves when they break, and are replaced when they
//! are of no use any more without being broken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, IntoConnectionInfo, Pipeline, RedisError, RedisFuture, TlsCertificates, Value};

use super::options::RedisOptions;

/// Longest wait for an answer. Scripts may run twice; all of them are idempotent.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections used in turn, so that a long answer does not hold up the others.
const CONNECTIONS: usize = 3;
/// Longest time without an acknowledgement of what was sent: a peer that vanished without a word is gone then. The
/// system's own limit is a quarter of an hour.
#[cfg(target_os = "linux")]
const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the options ask for: several connections to one server, or one that spreads over a cluster.
pub(super) enum Connections {
    Single(Box<Pool>),
    Cluster(ClusterConnection),
}

/// Connections to one server.
pub(super) struct Pool {
    client: Client,
    current: Mutex<Generation>,
    next: AtomicUsize,
}

/// Connections that were opened together, and how many generations there were before.
struct Generation {
    number: u64,
    managers: Vec<ConnectionManager>,
}

/// A connection of either kind, for one call.
#[derive(Clone)]
pub(super) enum Connection {
    Single { manager: ConnectionManager, generation: u64 },
    Cluster(ClusterConnection),
}

impl Connections {
    /// Connects.
    pub(super) async fn open(options: &RedisOptions) -> Result<Self, RedisError> {
        match options.cluster {
            true => Ok(Self::Cluster(cluster(options).await?)),
            false => Ok(Self::Single(Box::new(Pool::open(client(options)?).await?))),
        }
    }

    /// A connection for one call.
    pub(super) fn next(&self) -> Connection {
        match self {
            Self::Single(pool) => pool.next(),
            Self::Cluster(cluster) => Connection::Cluster(cluster.clone()),
        }
    }

    /// Looks at what a call came to, and gives the connections up if they are of no use any more: one that does not answer
    /// may lead nowhere, and one to a server that has become a replica would stay there while the address has moved on. The
    /// next call connects anew. A cluster's connection finds its own way.
    pub(super) fn judge<'a>(
        &self,
        used: &Connection,
        error: Option<&RedisError>,
        answers: impl IntoIterator<Item = &'a Value>,
    ) {
        let (Self::Single(pool), Connection::Single { generation, .. }) = (self, used) else { return };
        let demoted =
            |answer: &Value| matches!(answer, Value::ServerError(error) if error.code() == READONLY);
        let silent = error.is_some_and(RedisError::is_timeout);
        if silent || error.and_then(RedisError::code) == Some(READONLY) || answers.into_iter().any(demoted) {
            pool.give_up(*generation);
        }
    }
}

/// How a server that has become a replica answers writes.
const READONLY: &str = "READONLY";

impl Pool {
    async fn open(client: Client) -> Result<Self, RedisError> {
        let mut managers = Vec::new();
        for _ in 0..CONNECTIONS {
            managers.push(ConnectionManager::new_with_config(client.clone(), config()).await?);
        }
        let current = Mutex::new(Generation { number: 0, managers });
        Ok(Self { client, current, next: AtomicUsize::new(0) })
    }

    fn current(&self) -> MutexGuard<'_, Generation> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next one in turn.
    fn next(&self) -> Connection {
        let current = self.current();
        let at = self.next.fetch_add(1, Ordering::Relaxed) % current.managers.len();
        Connection::Single { manager: current.managers[at].clone(), generation: current.number }
    }

    /// Puts fresh connections in the place of that generation, unless somebody has done so already. Calls under way go on.
    fn give_up(&self, generation: u64) {
        let mut current = self.current();
        if current.number != generation {
            return;
        }
        let fresh =
            (0..CONNECTIONS).map(|_| ConnectionManager::new_lazy_with_config(self.client.clone(), config()));
        match fresh.collect::<Result<Vec<_>, RedisError>>() {
            Ok(managers) => *current = Generation { number: generation + 1, managers },
            Err(error) => tracing::warn!(%error, "the connections to Redis could not be replaced"),
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Single { manager, .. } => manager.req_packed_command(cmd),
            Connection::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Single { manager, .. } => manager.req_packed_commands(pipeline, offset, count),
            Connection::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Single { manager, .. } => manager.get_db(),
            Connection::Cluster(cluster) => cluster.get_db(),
        }
    }
}

/// Addresses without user and password.
pub(super) fn redacted(urls: &[String]) -> String {
    let one = |text: &String| match url::Url::parse(text) {
        Ok(mut url) => {
            // neither can fail for a URL with a host; without one there is nothing to hide
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.to_string()
        }
        Err(_) => "an address that is no URL".to_owned(),
    };
    urls.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn tls(options: &RedisOptions) -> Option<TlsCertificates> {
    let client_tls = options
        .client_pem
        .clone()
        .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    (options.ca_pem.is_some() || client_tls.is_some())
        .then(|| TlsCertificates { client_tls, root_cert: options.ca_pem.clone() })
}

/// Small writes go out at once: each is a question that somebody waits for.
fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(PEER_TIMEOUT);
    settings
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_number_of_retries(1)
}

fn client(options: &RedisOptions) -> Result<Client, RedisError> {
    let url = options.urls.first().map(String::as_str).unwrap_or_default();
    let info = url.into_connection_info()?.set_tcp_settings(tcp());
    match tls(options) {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

async fn cluster(options: &RedisOptions) -> Result<ClusterConnection, RedisError> {
    let builder = redis::cluster::ClusterClient::builder(options.urls.clone())
        .response_timeout(RESPONSE_TIMEOUT)
        .connection_timeout(CONNECT_TIMEOUT)
        .tcp_settings(tcp())
        .retries(2);
    let builder = match tls(options) {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder.build()?.get_async_connection().await
}
