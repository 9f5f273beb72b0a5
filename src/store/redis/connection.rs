//! A connection to one server or to a cluster. Both reconnect by themselves.

use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};

use super::options::RedisOptions;

/// Longest wait for an answer. Scripts may run twice; all of them are idempotent.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections used in turn, so that a long answer does not hold up the others.
const CONNECTIONS: usize = 3;

/// A connection of either kind.
#[derive(Clone)]
pub(super) enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Opens what the options ask for: several connections to one server, or one that spreads over a cluster.
    pub(super) async fn open(options: &RedisOptions) -> Result<Vec<Self>, RedisError> {
        if options.cluster {
            return Ok(vec![Connection::Cluster(cluster(options).await?)]);
        }
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::Single(single(options).await?));
        }
        Ok(connections)
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Single(c) => c.req_packed_command(cmd),
            Connection::Cluster(c) => c.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Single(c) => c.req_packed_commands(pipeline, offset, count),
            Connection::Cluster(c) => c.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Single(c) => c.get_db(),
            Connection::Cluster(c) => c.get_db(),
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

fn tls(options: &RedisOptions) -> Option<redis::TlsCertificates> {
    let client_tls = options
        .client_pem
        .clone()
        .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    (options.ca_pem.is_some() || client_tls.is_some())
        .then(|| redis::TlsCertificates { client_tls, root_cert: options.ca_pem.clone() })
}

async fn single(options: &RedisOptions) -> Result<ConnectionManager, RedisError> {
    let url = options.urls.first().map(String::as_str).unwrap_or_default();
    let client = match tls(options) {
        Some(certificates) => redis::Client::build_with_tls(url, certificates)?,
        None => redis::Client::open(url)?,
    };
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_number_of_retries(1);
    ConnectionManager::new_with_config(client, config).await
}

async fn cluster(options: &RedisOptions) -> Result<ClusterConnection, RedisError> {
    let builder = redis::cluster::ClusterClient::builder(options.urls.clone())
        .response_timeout(RESPONSE_TIMEOUT)
        .connection_timeout(CONNECT_TIMEOUT)
        .retries(2);
    let builder = match tls(options) {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder.build()?.get_async_connection().await
}
