//! The store in Redis. A record is an opaque JSON text with a version; every change is load, pure function, swap. All
//! keys of one resource lie in one bucket, whose name is the hash tag, so that each script stays in one slot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Script, Value};
use sha2::{Digest, Sha256};

use crate::core::record::{MemberEntry, Record};
use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::{Due, Lane, Millis};
use crate::pipeline::ports::{
    Backlog, Load, Loaded, Owner, Reschedule, Store, StoreError, Swap, Swapped, Version,
};

/// Buckets of one target: few enough to poll, enough to spread over a cluster.
pub const BUCKETS: u8 = 16;
/// Longest wait for an answer. Scripts may run twice; all of them are idempotent.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections used in turn, so that a long answer does not hold up the others.
const CONNECTIONS: usize = 3;
/// Entries asked for in one page of a ledger scan.
const PAGE: usize = 1_000;

/// How to reach Redis.
#[derive(Clone, Debug)]
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
}

/// A connection of either kind.
#[derive(Clone)]
enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
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

struct Scripts {
    swap: Script,
    take: Script,
    touch: Script,
    renew: Script,
    depend: Script,
    own: Script,
    disown: Script,
}

impl Scripts {
    fn new() -> Self {
        Self {
            swap: Script::new(include_str!("scripts/swap.lua")),
            take: Script::new(include_str!("scripts/take.lua")),
            touch: Script::new(include_str!("scripts/touch.lua")),
            renew: Script::new(include_str!("scripts/renew.lua")),
            depend: Script::new(include_str!("scripts/depend.lua")),
            own: Script::new(include_str!("scripts/own.lua")),
            disown: Script::new(include_str!("scripts/disown.lua")),
        }
    }
}

/// A store in Redis 7.0 or later, single or cluster.
pub struct RedisStore {
    connections: Vec<Connection>,
    next: std::sync::atomic::AtomicUsize,
    scripts: Scripts,
    prefix: String,
    target: String,
    address: String,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("address", &self.address).field("target", &self.target).finish()
    }
}

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

/// An address without user and password.
fn redacted(urls: &[String]) -> String {
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

impl RedisStore {
    /// Connects; an error names the address.
    pub async fn connect(options: RedisOptions) -> Result<Self, StoreError> {
        let address = redacted(&options.urls);
        let failed = |error: RedisError| StoreError {
            what: format!("connect to Redis at {address}"),
            source: error.into(),
        };
        let connections = match options.cluster {
            true => vec![Connection::Cluster(cluster(&options).await.map_err(failed)?)],
            false => {
                let mut connections = Vec::new();
                for _ in 0..CONNECTIONS {
                    connections.push(Connection::Single(single(&options).await.map_err(failed)?));
                }
                connections
            }
        };
        let RedisOptions { key_prefix, target, .. } = options;
        let next = std::sync::atomic::AtomicUsize::new(0);
        Ok(Self { connections, next, scripts: Scripts::new(), prefix: key_prefix, target, address })
    }

    fn connection(&self) -> Connection {
        let at = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.connections[at % self.connections.len()].clone()
    }

    fn error(&self, what: &str) -> impl FnOnce(RedisError) -> StoreError {
        let what = format!("{what} in Redis at {}", self.address);
        move |error| StoreError { what, source: error.into() }
    }

    fn broken(&self, what: &str, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        StoreError { what: format!("{what} in Redis at {}", self.address), source: source.into() }
    }

    fn bucket(&self, bucket: u8, rest: &str) -> String {
        format!("{}:{{{}:b{bucket:02}}}:{rest}", self.prefix, self.target)
    }

    fn bucket_of(&self, name: &str) -> u8 {
        Sha256::digest(name.as_bytes())[0] % BUCKETS
    }

    fn key_in(&self, key: &ResourceKey, kind: &str) -> String {
        let name = key.to_string();
        self.bucket(self.bucket_of(&name), &format!("{kind}:{name}"))
    }

    fn lane_keys(&self, bucket: u8) -> impl Iterator<Item = String> + '_ {
        Lane::ALL.into_iter().map(move |lane| self.bucket(bucket, &format!("due:{}", lane.name())))
    }

    /// Runs a pipeline of script calls, loading the scripts where the server has forgotten them.
    async fn invoke(&self, what: &str, script: &Script, calls: Vec<Call>) -> Result<Vec<Value>, StoreError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers: Vec<Option<Value>> = vec![None; calls.len()];
        for attempt in 0..3 {
            let open: Vec<usize> = (0..calls.len()).filter(|at| answers[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if attempt > 0 {
                self.load_script(script).await.map_err(self.error(what))?;
            }
            let some: Vec<&Call> = open.iter().map(|at| &calls[*at]).collect();
            for (at, answer) in open.into_iter().zip(self.evalsha(what, script, &some).await?) {
                match answer {
                    Value::ServerError(error) if error.code() == "NOSCRIPT" => {}
                    Value::ServerError(error) => return Err(self.error(what)(error.into())),
                    answer => answers[at] = Some(answer),
                }
            }
        }
        answers.into_iter().collect::<Option<Vec<Value>>>().ok_or_else(|| {
            self.error(what)(RedisError::from((
                redis::ErrorKind::Client,
                "scripts are forgotten again and again",
            )))
        })
    }

    async fn evalsha(&self, what: &str, script: &Script, calls: &[&Call]) -> Result<Vec<Value>, StoreError> {
        let command = |call: &Call| {
            let mut command = redis::cmd("EVALSHA");
            command.arg(script.get_hash()).arg(call.keys.len()).arg(&call.keys).arg(&call.args);
            command
        };
        self.pipeline(what, calls.iter().map(|call| (call.keys[0].clone(), command(call))).collect()).await
    }

    /// Sends commands in one go: one pipeline, or one per bucket in a cluster. Errors stay where they are.
    async fn pipeline(&self, what: &str, commands: Vec<(String, Cmd)>) -> Result<Vec<Value>, StoreError> {
        let mut connection = self.connection();
        if let Connection::Single(_) = connection {
            let mut pipeline = redis::pipe();
            pipeline.ignore_errors();
            commands.into_iter().for_each(|(_, command)| {
                pipeline.add_command(command);
            });
            return pipeline.query_async(&mut connection).await.map_err(self.error(what));
        }
        let mut buckets: BTreeMap<String, Vec<(usize, Cmd)>> = BTreeMap::new();
        let count = commands.len();
        for (at, (key, command)) in commands.into_iter().enumerate() {
            let tag = key.split(['{', '}']).nth(1).unwrap_or_default().to_owned();
            buckets.entry(tag).or_default().push((at, command));
        }
        let parts = buckets.into_values().map(|part| {
            let mut connection = connection.clone();
            async move {
                let (places, commands): (Vec<usize>, Vec<Cmd>) = part.into_iter().unzip();
                let mut pipeline = redis::pipe();
                pipeline.ignore_errors();
                commands.into_iter().for_each(|command| {
                    pipeline.add_command(command);
                });
                let answers: Vec<Value> = pipeline.query_async(&mut connection).await?;
                Ok::<_, RedisError>(places.into_iter().zip(answers).collect::<Vec<_>>())
            }
        });
        let mut answers = vec![Value::Nil; count];
        for part in join_all(parts).await {
            for (at, answer) in part.map_err(self.error(what))? {
                answers[at] = answer;
            }
        }
        Ok(answers)
    }

    async fn load_script(&self, script: &Script) -> Result<(), RedisError> {
        let mut connection = self.connection();
        script.prepare_invoke().load_async(&mut connection).await.map(drop)
    }

    /// Version, eviction policy and kind of the server.
    pub async fn info(&self) -> Result<ServerInfo, StoreError> {
        let mut command = redis::cmd("INFO");
        command.arg("everything");
        let mut connection = self.connection();
        let text: String = match &mut connection {
            Connection::Single(c) => command.query_async(c).await,
            Connection::Cluster(c) => {
                use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
                let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                c.route_command(command, route).await.and_then(|value| Ok(redis::from_redis_value(value)?))
            }
        }
        .map_err(self.error("read INFO"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim().to_owned()
        };
        let version = match field("valkey_version") {
            valkey if valkey.is_empty() => field("redis_version"),
            valkey => format!("Valkey {valkey}"),
        };
        Ok(ServerInfo {
            version,
            maxmemory_policy: field("maxmemory_policy"),
            cluster: field("cluster_enabled") == "1",
        })
    }

    /// Removes everything of this target. For tests.
    pub async fn clear(&self) -> Result<(), StoreError> {
        let Connection::Single(mut connection) = self.connection() else { return Ok(()) };
        let pattern = format!("{}:{{{}:b*", self.prefix, self.target);
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<String>) =
                scan.query_async(&mut connection).await.map_err(self.error("clear"))?;
            if !keys.is_empty() {
                let mut del = redis::cmd("DEL");
                del.arg(keys).exec_async(&mut connection).await.map_err(self.error("clear"))?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    fn swap_call(&self, swap: &Swap, token: &str) -> Result<Call, serde_json::Error> {
        let name = swap.key.to_string();
        let bucket = self.bucket_of(&name);
        let mut keys: Vec<String> =
            ["r", "m", "dm", "dep"].map(|kind| self.bucket(bucket, &format!("{kind}:{name}"))).to_vec();
        keys.extend(self.lane_keys(bucket));
        let (lane, at) = match (swap.reschedule, swap.record.due) {
            (Reschedule::Keep, _) => (0, 0),
            (Reschedule::AsRecord, None) => (-1, 0),
            (Reschedule::AsRecord, Some(due)) => (number(due.lane), due.at.0),
        };
        let id = swap.record.id.as_ref().map_or("", TargetId::as_str);
        let mut args = vec![
            swap.expected.0.to_string(),
            token.to_owned(),
            serde_json::to_string(&swap.record)?,
            id.to_owned(),
            name,
            lane.to_string(),
            at.to_string(),
        ];
        for (value, entry) in &swap.members {
            let dirty = entry.as_ref().is_some_and(|entry| entry.dirty);
            args.push(value.clone());
            args.push(entry.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default());
            args.push(if dirty { "1" } else { "0" }.to_owned());
        }
        Ok(Call { keys, args })
    }

    fn touch_call(&self, key: &ResourceKey, due: Due, member: &str) -> Call {
        let name = key.to_string();
        let bucket = self.bucket_of(&name);
        let mut keys: Vec<String> =
            ["r", "m", "dm"].map(|kind| self.bucket(bucket, &format!("{kind}:{name}"))).to_vec();
        keys.extend(self.lane_keys(bucket));
        Call { keys, args: vec![name, number(due.lane).to_string(), due.at.0.to_string(), member.to_owned()] }
    }

    fn entries(
        &self,
        values: Vec<String>,
        texts: Vec<Option<String>>,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        let known = values.into_iter().zip(texts).filter_map(|(value, text)| Some((value, text?)));
        known
            .map(|(value, text)| Ok((value, serde_json::from_str(&text)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| self.broken("read a ledger entry", error))
    }

    fn loaded(&self, load: &Load, record: Value, members: Value) -> Result<Loaded, StoreError> {
        let (version, text): (Option<u64>, Option<String>) =
            redis::from_redis_value(record).map_err(|error| self.broken("read a record", error))?;
        let record: Record = match text {
            Some(text) => serde_json::from_str(&text).map_err(|error| self.broken("read a record", error))?,
            None => Record::default(),
        };
        let texts: Vec<Option<String>> = match members {
            Value::Nil => Vec::new(),
            members => {
                redis::from_redis_value(members).map_err(|error| self.broken("read the ledger", error))?
            }
        };
        let members = self.entries(load.members.clone(), texts)?.into_iter().collect();
        Ok(Loaded { key: load.key.clone(), version: Version(version.unwrap_or(0)), record, members })
    }

    fn check(&self, what: &str, answers: Vec<Value>) -> Result<Vec<Value>, StoreError> {
        let ok = |answer| match answer {
            Value::ServerError(error) => Err(self.error(what)(error.into())),
            answer => Ok(answer),
        };
        answers.into_iter().map(ok).collect()
    }

    fn read<V: redis::FromRedisValue>(&self, what: &str, value: Value) -> Result<V, StoreError> {
        redis::from_redis_value(value).map_err(|error| self.broken(what, error))
    }
}

/// One call of a script.
struct Call {
    keys: Vec<String>,
    args: Vec<String>,
}

/// A lane's place among the KEYS of scripts.
fn number(lane: Lane) -> i32 {
    match lane {
        Lane::Deprovision => 1,
        Lane::Create => 2,
        Lane::Update => 3,
        Lane::Members => 4,
    }
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

impl Store for RedisStore {
    async fn load(&self, what: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        if what.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Vec::new();
        for load in what {
            let key = self.key_in(&load.key, "r");
            let mut record = redis::cmd("HMGET");
            record.arg(&key).arg("v").arg("r");
            commands.push((key, record));
            if !load.members.is_empty() {
                let key = self.key_in(&load.key, "m");
                let mut members = redis::cmd("HMGET");
                members.arg(&key).arg(&load.members);
                commands.push((key, members));
            }
        }
        let answers = self.pipeline("load records", commands).await?;
        let mut answers = self.check("load records", answers)?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let loads = what.iter().map(|load| {
            let record = next();
            let members = if load.members.is_empty() { Value::Nil } else { next() };
            self.loaded(load, record, members)
        });
        loads.collect()
    }

    async fn swap(&self, swaps: Vec<Swap>) -> Result<Vec<Swapped>, StoreError> {
        let token: u64 = rand::random();
        let token = format!("{token:016x}");
        let calls = swaps.iter().map(|swap| self.swap_call(swap, &token)).collect::<Result<Vec<Call>, _>>();
        let calls = calls.map_err(|error| self.broken("write a record", error))?;
        let answers = self.invoke("swap records", &self.scripts.swap, calls).await?;
        let mut swapped = Vec::new();
        for answer in answers {
            let Value::Array(mut answer) = answer else {
                swapped.push(Swapped::Conflict);
                continue;
            };
            let dependents = answer.split_off(1.min(answer.len()));
            let version: u64 = self.read("swap records", answer.pop().unwrap_or(Value::Int(0)))?;
            let dependents: Vec<String> = self.read("swap records", Value::Array(dependents))?;
            swapped.push(match version {
                0 => Swapped::Conflict,
                version => Swapped::Done { version: Version(version), dependents: parsed(dependents) },
            });
        }
        Ok(swapped)
    }

    async fn dirty_members(
        &self,
        key: &ResourceKey,
        limit: usize,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        let mut connection = self.connection();
        let mut command = redis::cmd("SRANDMEMBER");
        command.arg(self.key_in(key, "dm")).arg(limit);
        let values: Vec<String> =
            command.query_async(&mut connection).await.map_err(self.error("read dirty members"))?;
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.key_in(key, "m")).arg(&values);
        let texts = command.query_async(&mut connection).await.map_err(self.error("read dirty members"))?;
        let mut entries = self.entries(values, texts)?;
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    async fn scan_members(
        &self,
        key: &ResourceKey,
        cursor: u64,
    ) -> Result<(Vec<(String, MemberEntry)>, Option<u64>), StoreError> {
        let mut connection = self.connection();
        let mut command = redis::cmd("HSCAN");
        command.arg(self.key_in(key, "m")).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, fields): (u64, Vec<(String, String)>) =
            command.query_async(&mut connection).await.map_err(self.error("scan a ledger"))?;
        let (values, texts) = fields.into_iter().map(|(value, text)| (value, Some(text))).unzip();
        Ok((self.entries(values, texts)?, (next != 0).then_some(next)))
    }

    async fn take_due(
        &self,
        lanes: &[Lane],
        now: Millis,
        hold: Duration,
        limit: usize,
    ) -> Result<Vec<(Lane, ResourceKey)>, StoreError> {
        let held = now.plus(hold).0.to_string();
        let mut taken: Vec<(Lane, ResourceKey)> = Vec::new();
        // a fair share of each bucket first, then whatever is left
        let share = (limit / usize::from(BUCKETS)).max(1);
        for part in [share, limit] {
            let left = limit - taken.len();
            if left == 0 {
                break;
            }
            let calls = (0..BUCKETS).map(|bucket| {
                let keys =
                    lanes.iter().map(|lane| self.bucket(bucket, &format!("due:{}", lane.name()))).collect();
                Call { keys, args: vec![now.0.to_string(), held.clone(), part.min(left).to_string()] }
            });
            let mut found = 0;
            let calls: Vec<Call> = calls.collect();
            let calls = if part == share && limit >= usize::from(BUCKETS) {
                vec![calls]
            } else {
                calls.into_iter().map(|c| vec![c]).collect()
            };
            for some in calls {
                if taken.len() >= limit {
                    break;
                }
                let left = (limit - taken.len()).to_string();
                let some = some.into_iter().map(|mut call| {
                    if part != share || limit < usize::from(BUCKETS) {
                        call.args[2].clone_from(&left);
                    }
                    call
                });
                for answer in self.invoke("take what is due", &self.scripts.take, some.collect()).await? {
                    let pairs: Vec<(usize, String)> = self.read("take what is due", answer)?;
                    found += pairs.len();
                    taken.extend(
                        pairs
                            .into_iter()
                            .filter_map(|(at, key)| Some((*lanes.get(at - 1)?, key.parse().ok()?))),
                    );
                }
            }
            if found == 0 {
                break;
            }
        }
        taken.sort();
        Ok(taken)
    }

    async fn next_due(&self, lanes: &[Lane]) -> Result<Option<Millis>, StoreError> {
        let backlog = self.backlog().await?;
        Ok(lanes.iter().filter_map(|lane| backlog.oldest.get(lane)).min().copied())
    }

    async fn touch(&self, keys: &[(ResourceKey, Due)]) -> Result<(), StoreError> {
        let calls = keys.iter().map(|(key, due)| self.touch_call(key, *due, "")).collect();
        self.invoke("touch", &self.scripts.touch, calls).await.map(drop)
    }

    async fn touch_member(&self, groups: &[(ResourceKey, Due)], member: &str) -> Result<(), StoreError> {
        let calls = groups.iter().map(|(key, due)| self.touch_call(key, *due, member)).collect();
        self.invoke("touch", &self.scripts.touch, calls).await.map(drop)
    }

    async fn renew(
        &self,
        owner: &str,
        held: &[ResourceKey],
        now: Millis,
        lease: Duration,
    ) -> Result<(), StoreError> {
        let mut buckets: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for key in held {
            let name = key.to_string();
            buckets.entry(self.bucket_of(&name)).or_default().push(name);
        }
        let calls = buckets.into_iter().map(|(bucket, members)| {
            let mut keys = vec![self.bucket(bucket, &format!("lease:{owner}"))];
            keys.extend(self.lane_keys(bucket));
            let mut args = vec![lease.as_millis().to_string(), now.plus(lease).0.to_string()];
            args.extend(members);
            Call { keys, args }
        });
        self.invoke("renew leases", &self.scripts.renew, calls.collect()).await.map(drop)
    }

    async fn leases(&self, claims: &[(ResourceKey, String)]) -> Result<Vec<bool>, StoreError> {
        let commands = claims.iter().map(|(key, owner)| {
            let key = self.bucket(self.bucket_of(&key.to_string()), &format!("lease:{owner}"));
            let mut command = redis::cmd("EXISTS");
            command.arg(&key);
            (key, command)
        });
        let answers = self.pipeline("read leases", commands.collect()).await?;
        self.check("read leases", answers)?
            .into_iter()
            .map(|answer| self.read("read leases", answer))
            .collect()
    }

    async fn depend(
        &self,
        on: &ResourceKey,
        dependent: &ResourceKey,
    ) -> Result<Option<TargetId>, StoreError> {
        let keys = vec![self.key_in(on, "dep"), self.key_in(on, "r")];
        let calls = vec![Call { keys, args: vec![dependent.to_string()] }];
        let answer = self.invoke("register a dependent", &self.scripts.depend, calls).await?.pop();
        let id: Option<String> = self.read("register a dependent", answer.unwrap_or(Value::Nil))?;
        Ok(id.and_then(TargetId::new))
    }

    async fn dependents(&self, on: &ResourceKey) -> Result<Vec<ResourceKey>, StoreError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(self.key_in(on, "dep"));
        let keys: BTreeSet<String> =
            command.query_async(&mut self.connection()).await.map_err(self.error("read dependents"))?;
        Ok(parsed(keys.into_iter().collect()))
    }

    async fn release(&self, on: &ResourceKey, dependents: &[ResourceKey]) -> Result<(), StoreError> {
        if dependents.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("SREM");
        command
            .arg(self.key_in(on, "dep"))
            .arg(dependents.iter().map(ToString::to_string).collect::<Vec<_>>());
        command.exec_async(&mut self.connection()).await.map_err(self.error("release dependents"))
    }

    async fn own(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<Owner, StoreError> {
        let name = format!("own:{kind}/{id}");
        let keys = vec![self.bucket(self.bucket_of(&name), &name)];
        let calls = vec![Call { keys, args: vec![key.to_string()] }];
        let answer = self.invoke("claim a target resource", &self.scripts.own, calls).await?.pop();
        let owner: String = self.read("claim a target resource", answer.unwrap_or(Value::Nil))?;
        match owner.parse::<ResourceKey>() {
            Ok(owner) if owner == *key => Ok(Owner::Ours),
            Ok(owner) => Ok(Owner::Other(owner)),
            Err(error) => Err(self.broken("claim a target resource", error)),
        }
    }

    async fn disown(&self, kind: ResourceType, id: &TargetId, key: &ResourceKey) -> Result<(), StoreError> {
        let name = format!("own:{kind}/{id}");
        let keys = vec![self.bucket(self.bucket_of(&name), &name)];
        let calls = vec![Call { keys, args: vec![key.to_string()] }];
        self.invoke("give a target resource up", &self.scripts.disown, calls).await.map(drop)
    }

    async fn remember(&self, name: &str, note: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("HSET");
        command.arg(self.bucket(0, "notes")).arg(name).arg(note);
        command.exec_async(&mut self.connection()).await.map_err(self.error("keep a note"))
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.bucket(0, "notes")).arg(name);
        command.query_async(&mut self.connection()).await.map_err(self.error("read a note"))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let mut commands = Vec::new();
        for key in (0..BUCKETS).flat_map(|bucket| self.lane_keys(bucket)) {
            let (mut count, mut first) = (redis::cmd("ZCARD"), redis::cmd("ZRANGE"));
            count.arg(&key);
            first.arg(&key).arg(0).arg(0).arg("WITHSCORES");
            commands.extend([(key.clone(), count), (key, first)]);
        }
        let answers = self.pipeline("count what is pending", commands).await?;
        let mut answers = self.check("count what is pending", answers)?.into_iter();
        let mut backlog = Backlog::default();
        for lane in (0..BUCKETS).flat_map(|_| Lane::ALL) {
            let count: u64 = self.read("count what is pending", answers.next().unwrap_or(Value::Int(0)))?;
            let first: Vec<(String, f64)> =
                self.read("count what is pending", answers.next().unwrap_or(Value::Nil))?;
            *backlog.pending.entry(lane).or_default() += count;
            if let Some((_, at)) = first.first() {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "milliseconds are whole numbers below 2^53"
                )]
                let at = Millis(*at as i64);
                let oldest = backlog.oldest.entry(lane).or_insert(at);
                *oldest = (*oldest).min(at);
            }
        }
        backlog.pending.retain(|_, count| *count > 0);
        Ok(backlog)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(self.bucket(0, "ping"));
        let _: Option<String> =
            command.query_async(&mut self.connection()).await.map_err(self.error("ping"))?;
        Ok(())
    }
}

fn parsed(keys: Vec<String>) -> Vec<ResourceKey> {
    keys.into_iter().filter_map(|key| key.parse().ok()).collect()
}
