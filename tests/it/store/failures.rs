//! What Redis can do to the store: every failure says where and at what, and is over when its cause is.

use scim_relay::core::schedule::{Due, Lane, Millis};
use scim_relay::pipeline::ports::{Store, Swapped, Version};
use scim_relay::store::redis::RedisStore;

use super::{options, record_due, swap, version_and_due};
use crate::support::redis_servers::RedisServers;
use crate::support::relay::{eventually, unique};
use crate::support::switch::Switch;

async fn store(url: String) -> RedisStore {
    RedisStore::connect(options(vec![url], false)).await.unwrap()
}

/// Swaps a record that is not there; says what went wrong.
async fn refused(store: &RedisStore) -> String {
    store.swap(&[swap("User/e-1", 0, record_due(1))]).await.unwrap_err().to_string()
}

/// Waits until records can be written.
async fn works_again(store: &RedisStore) {
    let key = unique("User/e");
    eventually("the store works again", async || store.swap(&[swap(&key, 0, record_due(1))]).await.ok())
        .await;
}

fn assert_tells(error: &str, url: &str, cause: &str) {
    assert!(error.starts_with(&format!("swap records in Redis at {url}")), "{error}");
    assert!(error.contains(cause), "no `{cause}` in: {error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_and_found_again() {
    let servers = RedisServers::one(&[]).await;
    let store = store(servers.url(0)).await;
    servers.command::<()>(0, &["CLIENT", "PAUSE", "6000", "ALL"]).await;
    assert_tells(&refused(&store).await, &servers.url(0), "timed out");
    works_again(&store).await;
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_given_up() {
    let servers = RedisServers::start(2, &[]).await;
    let switch = Switch::to(servers.port(0)).await;
    let store = store(switch.url()).await;
    servers.command::<()>(0, &["CLIENT", "PAUSE", "600000", "ALL"]).await;
    switch.turn_to(servers.port(1));
    assert_tells(&refused(&store).await, &switch.url(), "timed out");
    works_again(&store).await;
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_when_it_is_back() {
    let mut servers = RedisServers::one(&[]).await;
    let store = store(servers.url(0)).await;
    servers.kill();
    assert_tells(&refused(&store).await, &servers.url(0), "");
    eventually("nobody listens there", async || {
        refused(&store).await.contains("Connection refused").then_some(())
    })
    .await;
    servers.restart().await;
    works_again(&store).await;
}

#[tokio::test]
async fn a_server_that_can_not_be_reached_at_first_is_named() {
    let mut servers = RedisServers::one(&[]).await;
    servers.kill();
    let secret = servers.url(0).replace("127", "relay:secret@127");
    let error = RedisStore::connect(options(vec![secret], false)).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("connect to Redis at {}", servers.url(0))), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_replica_refuses_to_write_until_it_is_promoted() {
    let servers = RedisServers::one(&[]).await;
    let store = store(servers.url(0)).await;
    servers.command::<()>(0, &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_tells(&refused(&store).await, &servers.url(0), "ReadOnly");
    servers.command::<()>(0, &["REPLICAOF", "NO", "ONE"]).await;
    works_again(&store).await;
}

#[tokio::test]
async fn an_address_that_moves_on_after_a_failover_is_followed() {
    let servers = RedisServers::start(2, &[]).await;
    let switch = Switch::to(servers.port(0)).await;
    let store = store(switch.url()).await;
    servers.command::<()>(0, &["REPLICAOF", "127.0.0.1", "1"]).await;
    switch.turn_to(servers.port(1));
    assert_tells(&refused(&store).await, &switch.url(), "ReadOnly");
    works_again(&store).await;
    assert_eq!(servers.command::<Vec<String>>(1, &["KEYS", "*:r:User/*"]).await.len(), 1);
}

#[tokio::test]
async fn a_full_server_takes_nothing_and_loses_nothing() {
    let servers = RedisServers::one(&[]).await;
    let store = store(servers.url(0)).await;
    let done = Swapped::Done { version: Version::of(1), dependents: Vec::new() };
    assert_eq!(store.swap(&[swap("User/e-3", 0, record_due(7))]).await.unwrap(), [done]);
    servers.command::<()>(0, &["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_tells(&refused(&store).await, &servers.url(0), "OOM");
    let touched = ("User/e-3".parse().unwrap(), Due { lane: Lane::Update, at: Millis(9) });
    // it may be refused or not; what it may not do is to take the resource out of the schedule
    let _ = store.touch(&[touched]).await;
    assert_eq!(version_and_due(&store, "User/e-1").await, (Version::of(0), Some(Millis(7))));
    servers.command::<()>(0, &["CONFIG", "SET", "maxmemory", "0"]).await;
    works_again(&store).await;
}
