//! How to reach Redis.

use super::connection::redacted;

/// How to reach Redis, and where in it this target's keys are.
#[derive(Clone)]
pub struct RedisOptions {
    /// One address, or several of a cluster.
    pub urls: Vec<String>,
    /// Talk to a cluster.
    pub cluster: bool,
    /// First part of every key.
    pub key_prefix: String,
    /// The target's name: second part of every key.
    pub target: String,
    /// PEM of the CA that signed the server's certificate; none: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// PEM of a client certificate and its key.
    pub client_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// Makes a text that nobody else makes. A store names itself by one, so that it knows its own writes.
    pub unique: fn() -> String,
}

impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = redacted(&self.urls);
        f.debug_struct("RedisOptions").field("address", &address).field("target", &self.target).finish()
    }
}
