//! The store in a Redis Cluster.

use scim_relay::pipeline::ports::{Store, Swapped, Version};
use scim_relay::store::redis::RedisStore;

use super::steps::steps;
use super::{Place, options, record_due, runtime, swap};
use crate::support::redis_servers::RedisServers;
use crate::support::relay::eventually;

/// Nodes: as few as a cluster can have.
const NODES: usize = 3;
/// Hash slots of any cluster.
const SLOTS: usize = 16_384;

async fn cluster() -> RedisServers {
    let announced = ["--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "2000"];
    let servers = RedisServers::start(NODES, &[&["--cluster-enabled", "yes"], &announced[..]].concat()).await;
    form(&servers).await;
    servers
}

/// Shares the slots out and lets the nodes meet.
async fn form(servers: &RedisServers) {
    for node in 0..NODES {
        let (first, end) = (node * SLOTS / NODES, (node + 1) * SLOTS / NODES);
        let (first, last, epoch) = (first.to_string(), (end - 1).to_string(), (node + 1).to_string());
        servers.command::<()>(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
        servers.command::<()>(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
    }
    for node in 1..NODES {
        let port = servers.port(node).to_string();
        servers.command::<()>(0, &["CLUSTER", "MEET", "127.0.0.1", &port]).await;
    }
    for node in 0..NODES {
        let whole = async || knows_all(servers, node).await.then_some(());
        eventually("every node knows the whole cluster", whole).await;
    }
}

async fn knows_all(servers: &RedisServers, node: usize) -> bool {
    let info: String = servers.command(node, &["CLUSTER", "INFO"]).await;
    let wanted = ["cluster_state:ok", "cluster_known_nodes:3", "cluster_slots_ok:16384"];
    wanted.iter().all(|line| info.contains(line))
}

#[test]
fn a_cluster_answers_as_memory_does() {
    let runtime = runtime();
    let servers = runtime.block_on(cluster());
    let place = Place { options: options(servers.urls(), true), servers: servers.urls(), resending: false };
    place.equals_memory(&runtime, 24, steps(40));
}

#[tokio::test]
async fn a_cluster_says_what_it_is() {
    let servers = cluster().await;
    let store = RedisStore::connect(options(vec![servers.url(1)], true)).await.unwrap();
    store.ping().await.unwrap();
    let info = store.info().await.unwrap();
    assert_eq!((info.cluster, info.maxmemory_policy.as_str()), (true, "noeviction"));
}

#[tokio::test]
async fn slots_that_move_to_another_node_are_followed() {
    let servers = cluster().await;
    let store = RedisStore::connect(options(vec![servers.url(0)], true)).await.unwrap();
    store.swap(&[swap("User/e-1", 0, record_due(1))]).await.unwrap();
    let holder = holder(&servers).await;
    let key = servers.command::<Vec<String>>(holder, &["KEYS", "*:r:User/e-1"]).await.remove(0);
    move_slot(&servers, &key, holder, (holder + 1) % NODES).await;
    let swapped = store.swap(&[swap("User/e-1", 1, record_due(2))]).await.unwrap();
    assert_eq!(swapped, [Swapped::Done { version: Version::of(2), dependents: Vec::new() }]);
    assert_eq!(store.backlog().await.unwrap().pending.len(), 1);
}

#[tokio::test]
async fn a_cluster_that_was_killed_and_came_back_is_used_again() {
    let mut servers = cluster().await;
    let store = RedisStore::connect(options(servers.urls(), true)).await.unwrap();
    servers.kill();
    let swap = || vec![swap("User/e-1", 0, record_due(1))];
    let error = store.swap(&swap()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("swap records in Redis at {}", servers.urls().join(", "))), "{error}");
    servers.restart().await;
    form(&servers).await;
    eventually("the store works again", async || store.swap(&swap()).await.ok()).await;
}

/// The node that has the record.
async fn holder(servers: &RedisServers) -> usize {
    for node in 0..NODES {
        if !servers.command::<Vec<String>>(node, &["KEYS", "*:r:User/e-1"]).await.is_empty() {
            return node;
        }
    }
    panic!("no node has the record");
}

/// Hands the slot of a key over, keys and all, as resharding does.
async fn move_slot(servers: &RedisServers, key: &str, from: usize, to: usize) {
    let id = async |node| servers.command::<String>(node, &["CLUSTER", "MYID"]).await;
    let (source, destination) = (id(from).await, id(to).await);
    let slot = servers.command::<u64>(0, &["CLUSTER", "KEYSLOT", key]).await.to_string();
    servers.command::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
    servers.command::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &destination]).await;
    let keys: Vec<String> = servers.command(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
    let port = servers.port(to).to_string();
    let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
    migrate.extend(keys.iter().map(String::as_str));
    servers.command::<()>(from, &migrate).await;
    for node in [to, from] {
        servers.command::<()>(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &destination]).await;
    }
}
