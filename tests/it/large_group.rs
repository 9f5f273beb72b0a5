//! A group of 100,000: what its first creation and one member more cost, at the target, in Redis and in the relay.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use scim_relay::core::record::Record;
use scim_relay::core::resource::{ResourceKey, TargetId};
use scim_relay::pipeline::ports::{Reschedule, Store, Swap, Version};
use scim_relay::store::redis::{RedisOptions, RedisStore};

use crate::support::events::event;
use crate::support::redis_servers::RedisServers;
use crate::support::relay::{Relay, unique};
use crate::support::sandbox::Sandbox;

const MEMBERS: usize = 100_000;
/// So many members are named in one event of the source.
const PER_EVENT: usize = 5_000;
/// Most members in one request (profile `generic`).
const PER_REQUEST: usize = 500;
/// `{"value":"t-000001"},`
const BYTES_PER_MEMBER: usize = 21;

fn name(number: usize) -> String {
    format!("e-{number:06}")
}

/// Users that the relay has written long ago, 1 to `MEMBERS` + 1: their records, without what does not matter here.
async fn know_users(store: &RedisStore) {
    let numbers: Vec<usize> = (1..=MEMBERS + 1).collect();
    for some in numbers.chunks(2_000) {
        let swap = |number: &usize| {
            let key: ResourceKey = format!("User/{}", name(*number)).parse().unwrap();
            let record = Record { id: TargetId::new(format!("t-{number:06}")), ..Record::default() };
            let (expected, reschedule) = (Version::of(0), Reschedule::AsRecord);
            Swap { key, expected, record, members: Vec::new(), reschedule }
        };
        store.swap(&some.iter().map(swap).collect::<Vec<_>>()).await.unwrap();
    }
}

/// What was spent so far.
#[derive(Clone, Copy, Debug)]
struct Spent {
    at: Instant,
    requests: usize,
    redis_bytes: u64,
    cpu: Duration,
}

struct Company {
    sandbox: Sandbox,
    redis: RedisServers,
    relay: Relay,
}

impl Company {
    async fn start() -> Self {
        let sandbox = Sandbox::with_faults(json!({})).await;
        let redis = RedisServers::one(&[]).await;
        let base_url = sandbox.running.base_url().parse().unwrap();
        let mut relay = Relay::configured(&base_url, None, "").with("SCIM_RELAY__REDIS__URL", redis.url(0));
        let options = RedisOptions {
            urls: redis.urls(),
            cluster: false,
            key_prefix: "scim-relay".into(),
            target: relay.target.clone(),
            ca_pem: None,
            client_pem: None,
            unique: || unique("w"),
        };
        know_users(&RedisStore::connect(options).await.unwrap()).await;
        relay.run();
        relay.ready().await;
        Self { sandbox, redis, relay }
    }

    /// A group that lists all but the last user.
    fn first_events() -> Vec<Value> {
        let numbers: Vec<usize> = (1..=MEMBERS).collect();
        let put = event(1, "group.put", "all", json!({"displayName": "All", "members": []}));
        let add = |(at, some): (usize, &[usize])| {
            let members: Vec<Value> = some.iter().map(|number| json!({"value": name(*number)})).collect();
            let operation = json!({"op": "add", "path": "members", "value": members});
            event(2 + at, "group.patch", "all", json!({"Operations": [operation]}))
        };
        std::iter::once(put).chain(numbers.chunks(PER_EVENT).enumerate().map(add)).collect()
    }

    async fn spent(&self) -> Spent {
        let info: String = self.redis.command(0, &["INFO", "stats"]).await;
        let sent = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
        let requests = self.sandbox.requests().await.len();
        Spent {
            at: Instant::now(),
            requests,
            redis_bytes: sent.trim().parse().unwrap(),
            cpu: self.relay.cpu(),
        }
    }

    /// The writes since then.
    async fn writes_since(&self, spent: &Spent) -> Vec<Value> {
        let all = self.sandbox.requests().await;
        all.into_iter().skip(spent.requests).filter(|request| request["method"] != "GET").collect()
    }
}

#[tokio::test]
async fn one_member_more_in_a_group_of_a_hundred_thousand_is_one_small_patch() {
    let company = Company::start().await;
    let start = company.spent().await;
    let events = Company::first_events();
    company.relay.publish(&events);
    company.relay.settled(events.len()).await;
    let created = company.spent().await;
    let writes = company.writes_since(&start).await;
    let bytes = |it: &Value| usize::try_from(it["bytes"].as_u64().unwrap()).unwrap();
    let largest = writes.iter().map(bytes).max().unwrap();
    eprintln!(
        "first creation: {} requests, {} bytes, the largest {largest}; Redis sent {} bytes; {:?} of CPU in {:?}",
        writes.len(),
        writes.iter().map(bytes).sum::<usize>(),
        created.redis_bytes - start.redis_bytes,
        created.cpu - start.cpu,
        created.at - start.at,
    );
    assert!(largest <= PER_REQUEST * BYTES_PER_MEMBER + 512, "{largest} bytes in one request");
    assert!(writes.len() >= MEMBERS / PER_REQUEST, "{} requests", writes.len());

    let add =
        json!({"Operations": [{"op": "add", "path": "members", "value": [{"value": name(MEMBERS + 1)}]}]});
    company.relay.publish(&[event(events.len() + 1, "group.patch", "all", add)]);
    company.relay.settled(events.len() + 1).await;
    let added = company.spent().await;
    let writes = company.writes_since(&created).await;
    let (redis, cpu) = (added.redis_bytes - created.redis_bytes, added.cpu - created.cpu);
    eprintln!(
        "one more: {writes:?}; Redis sent {redis} bytes; {cpu:?} of CPU in {:?}",
        added.at - created.at
    );
    assert_eq!(writes.len(), 1);
    assert!(bytes(&writes[0]) < 2 * 1024, "{writes:?}");
    assert!(redis < 64 * 1024, "Redis sent {redis} bytes");
    let reads = company.sandbox.requests().await.split_off(created.requests);
    assert!(
        reads.iter().all(|it| !it["path"].as_str().unwrap().contains("/Groups") || it["method"] != "GET")
    );

    let state = company.sandbox.admin("GET", "state", None).await.body;
    assert_eq!(state["Groups"][0]["members"].as_array().unwrap().len(), MEMBERS + 1);
}
