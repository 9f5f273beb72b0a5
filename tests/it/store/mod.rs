//! The store in Redis keeps the contract that the store in memory keeps: whatever happens to both, they answer alike and
//! end alike.

mod cluster;
mod failures;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use scim_relay::core::generation::Generation;
use scim_relay::core::record::{MemberEntry, Record};
use scim_relay::core::resource::{ResourceKey, TargetId};
use scim_relay::core::schedule::{Due, Lane, Millis};
use scim_relay::pipeline::ports::{Clock, Load, Reschedule, Store, Swap, Swapped, Version};
use scim_relay::store::memory::MemoryStore;
use scim_relay::store::redis::{RedisOptions, RedisStore};

use crate::support::redis_servers::connect;
use crate::support::relay::{eventually, redis_url, unique};
use crate::support::resending_line::ResendingLine;
use steps::{START, Step, answer, budget_steps, portrait, revision, steps};

/// Longer than any lease.
const LATER: Duration = Duration::from_secs(30 * 3600);

/// A clock that a test sets.
#[derive(Debug)]
struct TestClock(AtomicI64);

impl TestClock {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

fn options(urls: Vec<String>, cluster: bool) -> RedisOptions {
    RedisOptions {
        urls,
        cluster,
        key_prefix: unique("store"),
        target: "t".into(),
        ca_pem: None,
        client_pem: None,
        unique: || unique("w"),
    }
}

/// Where the store in Redis is, and what lies between.
struct Place {
    /// The address of the store.
    options: RedisOptions,
    /// The addresses of all servers.
    servers: Vec<String>,
    /// Every script call is executed twice.
    resending: bool,
}

impl Place {
    /// Does all steps to a store in Redis and to one in memory.
    async fn play(&self, steps: &[Step]) -> Result<(), TestCaseError> {
        let options = RedisOptions { key_prefix: unique("store"), ..self.options.clone() };
        let prefix = options.key_prefix.clone();
        let redis = RedisStore::connect(options).await.unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(START.0)));
        let memory = MemoryStore::new(clock.clone());
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Wait(time) => clock.pass(*time),
                Step::LeasesEnd => {
                    clock.pass(LATER);
                    self.end_leases(&prefix).await;
                }
                Step::ScriptsAreForgotten => self.forget_scripts().await,
                _ => {}
            }
            let now = clock.now();
            let expected = answer(&memory, step, now).await;
            if self.resending && matches!(step, Step::Touch(_) | Step::TouchMember(..)) {
                // a version that goes up once more than it had to only makes somebody load again
                answer(&memory, step, now).await;
            }
            prop_assert_eq!(answer(&redis, step, now).await, expected, "step {}: {:?}", at, step);
        }
        let (found, expected) = (portrait(&redis).await, portrait(&memory).await);
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(found, expected, "in the end");
        }
        prop_assert_eq!(found.len(), expected.len(), "in the end");
        Ok(())
    }

    async fn forget_scripts(&self) {
        for server in &self.servers {
            let mut connection = connect(server).await.unwrap();
            redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut connection).await.unwrap();
        }
    }

    async fn end_leases(&self, prefix: &str) {
        for server in &self.servers {
            let mut connection = connect(server).await.unwrap();
            let pattern = format!("{prefix}:*:lease:*");
            let keys: Vec<String> =
                redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
            for key in keys {
                redis::cmd("DEL").arg(key).exec_async(&mut connection).await.unwrap();
            }
        }
    }

    /// Draws so many sequences of steps and plays them.
    fn equals_memory(
        &self,
        runtime: &tokio::runtime::Runtime,
        cases: u32,
        steps: impl Strategy<Value = Vec<Step>>,
    ) {
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            max_shrink_iters: 2_000,
            ..ProptestConfig::default()
        };
        let played = TestRunner::new(config).run(&steps, |steps| runtime.block_on(self.play(&steps)));
        if let Err(error) = played {
            panic!("{error}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn redis_answers_as_memory_does() {
    let place =
        Place { options: options(vec![redis_url()], false), servers: vec![redis_url()], resending: false };
    place.equals_memory(&runtime(), 128, steps(40));
}

#[test]
fn the_budget_in_redis_is_the_one_in_memory() {
    let place =
        Place { options: options(vec![redis_url()], false), servers: vec![redis_url()], resending: false };
    place.equals_memory(&runtime(), 192, budget_steps(80));
}

/// A line to the common server, and the options of a store that uses it.
async fn resending_line() -> (ResendingLine, RedisOptions) {
    let url = url::Url::parse(&redis_url()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(6379));
    let line = ResendingLine::to(server).await;
    let through = line.url() + url.path().trim_start_matches('/');
    (line, options(vec![through], false))
}

#[test]
fn a_script_executed_twice_answers_and_ends_as_once() {
    let runtime = runtime();
    let (line, options) = runtime.block_on(resending_line());
    let place = Place { options, servers: vec![redis_url()], resending: true };
    place.equals_memory(&runtime, 64, steps(40));
    assert!(line.resent() > 100, "only {} calls were executed twice", line.resent());
}

fn record_due(at: i64) -> Record {
    Record { due: Some(Due { lane: Lane::Update, at: Millis(at) }), ..Record::default() }
}

fn swap(key: &str, expected: u64, record: Record) -> Swap {
    Swap {
        key: key.parse().unwrap(),
        expected: Version::of(expected),
        record,
        members: Vec::new(),
        reschedule: Reschedule::AsRecord,
    }
}

async fn version_and_due(store: &RedisStore, key: &str) -> (Version, Option<Millis>) {
    let load = [Load { key: key.parse().unwrap(), members: Vec::new() }];
    let loaded = store.load(&load).await.unwrap().remove(0);
    (loaded.version, store.next_due(&Lane::ALL).await.unwrap())
}

#[tokio::test]
async fn a_swap_that_comes_late_once_more_does_not_hide_what_happened_meanwhile() {
    let (line, options) = resending_line().await;
    let store = RedisStore::connect(options).await.unwrap();
    let done = Swapped::Done { version: Version::of(1), dependents: Vec::new() };
    assert_eq!(store.swap(&[swap("User/e-1", 0, record_due(500))]).await.unwrap(), [done]);
    let first = line.last();
    let touched = ("User/e-1".parse().unwrap(), Due { lane: Lane::Create, at: Millis(100) });
    // on this line a touch is executed twice as well
    store.touch(&[touched]).await.unwrap();
    assert_eq!(version_and_due(&store, "User/e-1").await, (Version::of(3), Some(Millis(100))));
    assert_eq!(line.send_again(&first).await, "*1\r\n:1\r\n", "as the first time");
    assert_eq!(version_and_due(&store, "User/e-1").await, (Version::of(3), Some(Millis(100))));
}

#[tokio::test]
async fn a_version_conflict_writes_nothing() {
    let store = RedisStore::connect(options(vec![redis_url()], false)).await.unwrap();
    store.swap(&[swap("Group/g-1", 0, record_due(100))]).await.unwrap();
    let entry = MemberEntry { dirty: true, ..MemberEntry::new(revision(1)) };
    let members = vec![("e-1".to_owned(), Some(entry))];
    let id = TargetId::new("t-1");
    let late = Swap { members, ..swap("Group/g-1", 0, Record { id, ..record_due(200) }) };
    assert_eq!(store.swap(&[late]).await.unwrap(), [Swapped::Conflict]);
    let group = "Group/g-1".parse().unwrap();
    let load = [Load { key: "Group/g-1".parse().unwrap(), members: vec!["e-1".into()] }];
    let loaded = store.load(&load).await.unwrap().remove(0);
    assert_eq!((loaded.version, loaded.record, loaded.members.len()), (Version::of(1), record_due(100), 0));
    assert_eq!(store.dirty_members(&group, 10).await.unwrap(), []);
    assert_eq!(store.next_due(&Lane::ALL).await.unwrap(), Some(Millis(100)));
}

#[tokio::test]
async fn a_ledger_of_many_pages_is_read_whole() {
    let store = RedisStore::connect(options(vec![redis_url()], false)).await.unwrap();
    let group = "Group/g-1".parse().unwrap();
    let entry = |n: u32| (format!("e-{n:05}"), Some(MemberEntry::new(revision(n))));
    for (version, chunk) in (0..5_000).collect::<Vec<u32>>().chunks(2_000).enumerate() {
        let members = chunk.iter().map(|n| entry(*n)).collect();
        let swap = Swap { members, ..swap("Group/g-1", version as u64, Record::default()) };
        assert_ne!(store.swap(&[swap]).await.unwrap(), [Swapped::Conflict]);
    }
    let (mut found, mut pages, mut cursor) = (BTreeMap::new(), 0, Some(0));
    while let Some(at) = cursor {
        let (page, next) = store.scan_members(&group, at).await.unwrap();
        found.extend(page.into_iter().map(|(value, entry)| (value, Some(entry))));
        (cursor, pages) = (next, pages + 1);
    }
    assert!(found.into_iter().eq((0..5_000).map(entry)));
    assert!(pages > 1, "{pages} pages");
}

#[tokio::test]
async fn a_lease_that_nobody_renews_ends_in_its_bucket() {
    let store = RedisStore::connect(options(vec![redis_url()], false)).await.unwrap();
    let key = |name: &str| name.parse::<ResourceKey>().unwrap();
    let claims = ["User/e-1", "Group/g-28", "Group/g-1"].map(|name| (key(name), "one".to_owned()));
    let held = [key("User/e-1")];
    let lease = |time| store.renew("one", &held, Generation(0), START, time);
    lease(Duration::from_secs(60)).await.unwrap();
    assert_eq!(store.leases(&claims).await.unwrap(), [true, true, false], "the first two share a bucket");
    lease(Duration::from_millis(1)).await.unwrap();
    eventually("the lease has ended", async || {
        (store.leases(&claims).await.unwrap() == [false; 3]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_renewal_goes_on_holding_what_is_held_and_leaves_what_is_due() {
    let store = RedisStore::connect(options(vec![redis_url()], false)).await.unwrap();
    let held: [ResourceKey; 2] = ["User/e-1", "User/e-2"].map(|name| name.parse().unwrap());
    let lease = Duration::from_secs(16);
    for name in ["User/e-1", "User/e-2"] {
        store.swap(&[swap(name, 0, record_due(START.0))]).await.unwrap();
    }
    assert_eq!(store.take_due(&Lane::ALL, START, lease, 10).await.unwrap().len(), 2);
    let settled = START.plus(Duration::from_secs(4));
    let again = Due { lane: Lane::Update, at: settled };
    store.touch(&[(held[1].clone(), again)]).await.unwrap();
    store.renew("one", &held, Generation(0), settled, lease).await.unwrap();
    assert_eq!(
        store.take_due(&Lane::ALL, settled, lease, 10).await.unwrap(),
        [(Lane::Update, held[1].clone())]
    );
    assert_eq!(store.take_due(&Lane::ALL, START.plus(lease), lease, 10).await.unwrap(), []);
}
