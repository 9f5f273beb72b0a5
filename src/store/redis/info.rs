//! What the server says about itself.

use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};

use super::RedisStore;
use super::connection::Connection;
use crate::pipeline::ports::StoreError;

/// What `check` and the start-up log say about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// `redis_version` (or Valkey's).
    pub version: String,
    /// `maxmemory_policy`; anything but `noeviction` loses state.
    pub maxmemory_policy: String,
    /// True in cluster mode.
    pub cluster: bool,
}

impl ServerInfo {
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let version = match field("valkey_version") {
            valkey if valkey.is_empty() => field("redis_version"),
            valkey => format!("Valkey {valkey}"),
        };
        Self {
            version,
            maxmemory_policy: field("maxmemory_policy"),
            cluster: field("cluster_enabled") == "1",
        }
    }
}

impl RedisStore {
    /// Version, eviction policy and kind of the server; of any node of a cluster.
    pub async fn info(&self) -> Result<ServerInfo, StoreError> {
        let what = "read INFO";
        let mut command = redis::cmd("INFO");
        command.arg("everything");
        let text: String = match self.link.connection() {
            Connection::Single { .. } => self.link.query(what, command).await?,
            Connection::Cluster(mut cluster) => {
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                let answer = cluster.route_command(command, route).await;
                self.link.read(what, answer.map_err(|error| self.link.error(what, error))?)?
            }
        };
        Ok(ServerInfo::parse(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valkey_is_told_from_the_redis_it_claims_to_be() {
        let text =
            "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.0\r\nmaxmemory_policy:noeviction\r\n";
        let info = ServerInfo::parse(text);
        assert_eq!(info.version, "Valkey 8.1.0");
        assert_eq!((info.maxmemory_policy.as_str(), info.cluster), ("noeviction", false));
    }
}
