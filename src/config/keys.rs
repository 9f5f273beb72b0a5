//! Every configuration key: where it stands, what it takes, what it is by default, what it is for. Parser, overrides,
//! schema and example are all made from this one table.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A name that goes into queue names and Redis keys: letters, digits, `-`, `_`, at most 40.
    Name,
    /// An address with one of these schemes.
    Url(&'static [&'static str]),
    /// true or false.
    Bool,
    /// A whole number between these, both included.
    Int(u64, u64),
    /// An amount of bytes: "1MiB", "64KiB", or a number; at least this many.
    Bytes(u64),
    /// A time span: "50ms", "15m", "7d"; between these, in milliseconds.
    Duration(u64, u64),
    /// A list of increasing time spans.
    Delays,
    /// A list of texts.
    Texts,
    /// One of these.
    Choice(&'static [&'static str]),
    /// `{ env = "NAME" }` or `{ file = "PATH" }`.
    Secret,
    /// A path of a file.
    File,
    /// Limits of the guard in a table, or false.
    Guard,
    /// The name of a shipped profile, or the path of a file.
    Profile,
    /// Attributes in a table, each with who is right about it.
    Winners,
    /// A rate: "50/s", "180/m", "1000/h"; "0": none.
    Rate,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default as TOML; none: it is absent, or required.
    pub default: Option<&'static str>,
    /// True if a configuration without it is refused.
    pub required: bool,
    /// One line for people.
    pub doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default: Some(default), required: false, doc }
}

const fn optional(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: None, required: false, doc }
}

const fn required(path: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { path, kind, default: None, required: true, doc }
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// All keys, in the order of the example.
pub const KEYS: &[Key] = &[
    key(
        "amqp.url",
        Kind::Url(&["amqp", "amqps"]),
        r#""amqp://127.0.0.1:5672/%2f""#,
        "RabbitMQ, with the virtual host as the path",
    ),
    optional("amqp.username", Kind::Text, "user name; absent: what the url says, else guest"),
    optional("amqp.password", Kind::Secret, "password; absent: what the url says, else guest"),
    optional("amqp.ca_file", Kind::File, "PEM of the CA that signed the broker's certificate (amqps)"),
    optional("amqp.client_certificate_file", Kind::File, "PEM of a client certificate (amqps)"),
    optional("amqp.client_key_file", Kind::File, "PEM of its key"),
    key("amqp.exchange", Kind::Text, r#""directory.events""#, "the publishers' topic exchange"),
    key(
        "amqp.bindings",
        Kind::Texts,
        r#"["directory.user.*", "directory.group.*"]"#,
        "routing keys that are relayed",
    ),
    key(
        "amqp.urgent_bindings",
        Kind::Texts,
        r#"["directory.user.delete", "directory.user.deactivate"]"#,
        "routing keys of events that deprovision: they overtake a backlog",
    ),
    key("amqp.prefetch", Kind::Int(1, 65_535), "500", "unacknowledged deliveries per queue and replica"),
    key("amqp.max_event_bytes", Kind::Bytes(1_024), r#""1MiB""#, "larger events become dead letters"),
    key(
        "amqp.delivery_limit",
        Kind::Int(1, 1_000_000),
        "50",
        "deliveries of one message before the broker dead-letters it",
    ),
    key(
        "redis.url",
        Kind::Url(&["redis", "rediss"]),
        r#""redis://127.0.0.1:6379/0""#,
        "Redis 7.0 or later, with maxmemory-policy noeviction",
    ),
    optional("redis.urls", Kind::Texts, "nodes of a cluster, with mode = \"cluster\""),
    key("redis.mode", Kind::Choice(&["single", "cluster"]), r#""single""#, "one server, or a cluster"),
    optional("redis.ca_file", Kind::File, "PEM of the CA that signed the server's certificate (rediss)"),
    optional("redis.client_certificate_file", Kind::File, "PEM of a client certificate (rediss)"),
    optional("redis.client_key_file", Kind::File, "PEM of its key"),
    key(
        "redis.key_prefix",
        Kind::Name,
        r#""scim-relay""#,
        "first part of every key; the target's name follows",
    ),
    key(
        "redis.tombstone_ttl",
        Kind::Duration(HOUR, 3_650 * DAY),
        r#""90d""#,
        "how long what was removed is remembered; a letter first seen half as long ago or more is stale_unknown unless the \
         store still knows what it says",
    ),
    key(
        "events.max_clock_skew",
        Kind::Duration(0, DAY),
        r#""10m""#,
        "an event ordered by time alone that lies further ahead is a dead letter",
    ),
    key(
        "events.wait_for_base",
        Kind::Duration(0, 30 * DAY),
        r#""15m""#,
        "how long patches wait for the put of a resource that the target does not have",
    ),
    key(
        "references.user",
        Kind::Choice(&["externalId", "userName", "email"]),
        r#""externalId""#,
        "what member and manager values denote",
    ),
    key(
        "references.wait",
        Kind::Duration(0, 365 * DAY),
        r#""24h""#,
        "how long a reference waits for the resource it names",
    ),
    required("target.name", Kind::Name, "names the target in queues, keys and metrics"),
    required(
        "target.base_url",
        Kind::Url(&["http", "https"]),
        "the SCIM base URL; http beyond loopback needs allow_http",
    ),
    key(
        "target.profile",
        Kind::Profile,
        r#""generic""#,
        "what is special about this kind of target: a shipped profile, or the path of a file",
    ),
    key("target.allow_http", Kind::Bool, "false", "http to a host that is not this machine"),
    optional("target.ca_file", Kind::File, "PEM of the CA that signed the target's certificate"),
    optional("target.client_certificate_file", Kind::File, "PEM of a client certificate"),
    optional("target.client_key_file", Kind::File, "PEM of its key"),
    key("target.read_only", Kind::Bool, "false", "merge, plan and report, and write nothing"),
    key(
        "target.protected",
        Kind::Texts,
        "[]",
        "values of externalId, userName or displayName that are never written, e.g. break-glass accounts",
    ),
    key("target.timeout", Kind::Duration(10, HOUR), r#""30s""#, "of a single request"),
    key("target.bulk_timeout", Kind::Duration(10, HOUR), r#""120s""#, "of a bulk request"),
    key(
        "target.late_window",
        Kind::Duration(0, DAY),
        r#""300s""#,
        "after an unknown outcome, read again this much later",
    ),
    key(
        "target.auth.kind",
        Kind::Choice(&["none", "bearer", "oauth2-client-credentials", "cxone-access-key"]),
        r#""none""#,
        "how the relay authenticates",
    ),
    optional("target.auth.token", Kind::Secret, "bearer: the token"),
    optional("target.auth.token_url", Kind::Url(&["http", "https"]), "oauth2, cxone: the token endpoint"),
    optional("target.auth.client_id", Kind::Text, "oauth2: the client's id"),
    optional("target.auth.client_secret", Kind::Secret, "oauth2: the client's secret"),
    key(
        "target.auth.client_auth",
        Kind::Choice(&["client_secret_basic", "client_secret_post"]),
        r#""client_secret_basic""#,
        "oauth2: how the client authenticates",
    ),
    optional("target.auth.scope", Kind::Text, "oauth2: the scope to ask for"),
    key(
        "target.auth.refresh_before",
        Kind::Duration(0, HOUR),
        r#""60s""#,
        "oauth2, cxone: a token is renewed this much before it expires",
    ),
    optional("target.auth.access_key_id", Kind::Text, "cxone: the access key's id"),
    optional("target.auth.access_key_secret", Kind::Secret, "cxone: the access key's secret"),
    key(
        "matching.adopt",
        Kind::Choice(&["unclaimed", "never"]),
        r#""unclaimed""#,
        "unclaimed: what carries no externalId at the target, or ours; never: only ours",
    ),
    key(
        "flush.mode",
        Kind::Choice(&["auto", "bulk", "single"]),
        r#""auto""#,
        "auto: bulk where the target offers it",
    ),
    key("flush.max_operations", Kind::Int(1, 100_000), "500", "operations in one bulk request"),
    key("flush.max_bytes", Kind::Bytes(1_024), r#""1MiB""#, "encoded bytes of one bulk request"),
    key(
        "flush.linger",
        Kind::Duration(0, 60 * SECOND),
        r#""50ms""#,
        "how long a lone event waits for company; under load up to 8 times as long (0.4 s, if that is shorter) for each request in flight",
    ),
    key(
        "flush.catch_up",
        Kind::Duration(0, HOUR),
        r#""10s""#,
        "while the work queue holds a backlog, creates and updates may wait this long; deprovisioning never",
    ),
    key("flush.concurrency", Kind::Int(1, 64), "4", "requests in flight"),
    optional(
        "limits.requests",
        Kind::Rate,
        "requests to the target over all replicas: \"50/s\", \"180/m\", \"1000/h\"; absent: the profile's; \"0\", or none in either: any number, until the first 429, from then on the rate is learnt",
    ),
    optional(
        "limits.burst",
        Kind::Int(1, 100_000),
        "so many requests at once after a rest; all but one of them come on top of limits.requests; absent: the profile's, else 1",
    ),
    optional(
        "limits.operations",
        Kind::Rate,
        "operations over all replicas, each one of a bulk request counted; it makes bulk requests smaller; absent: the profile's; \"0\", or none in either: any number",
    ),
    key(
        "retry.delays",
        Kind::Delays,
        r#"["1s", "5s", "15s", "60s", "300s", "900s", "3600s", "21600s"]"#,
        "waits of the retry ladder, one queue each",
    ),
    key(
        "retry.max_attempts",
        Kind::Int(1, 1_000),
        "12",
        "failures of a resource's own after which it is dead-lettered",
    ),
    key(
        "deprovision.user",
        Kind::Choice(&["deactivate", "delete", "keep"]),
        r#""deactivate""#,
        "what a delete event does to a user",
    ),
    key(
        "deprovision.group",
        Kind::Choice(&["delete", "keep"]),
        r#""delete""#,
        "what a delete event does to a group",
    ),
    key(
        "deprovision.memberships",
        Kind::Choice(&["keep", "remove"]),
        r#""keep""#,
        "of a user who is deactivated from now on; remove: out of its groups, and in again when it is re-hired",
    ),
    key(
        "deprovision.guard",
        Kind::Guard,
        "{ max_per_hour = 200, max_per_day = 500, max_percent = 10, min_resources = 200 }",
        "per type: what would go beyond waits for an operator in `held`; false: nothing is held",
    ),
    key(
        "deprovision.held_expires_after",
        Kind::Duration(SECOND, 365 * DAY),
        r#""30d""#,
        "what no operator decided about for so long becomes a dead letter",
    ),
    key(
        "conflict.policy",
        Kind::Choice(&["source-wins", "target-wins"]),
        r#""source-wins""#,
        "which value an attribute gets that somebody else changed at the target",
    ),
    key(
        "conflict.attributes",
        Kind::Winners,
        "{}",
        "exceptions by attribute or sub-attribute, such as { active = \"target-wins\" }",
    ),
    key(
        "conflict.members",
        Kind::Choice(&["own", "authoritative"]),
        r#""own""#,
        "own: members added by others stay; authoritative: the list of a put is the list, and they go",
    ),
    key(
        "journal.enabled",
        Kind::Bool,
        "true",
        "false: no streams are declared or read, and what is pending is lost with Redis",
    ),
    key("journal.max_age", Kind::Duration(HOUR, 3_650 * DAY), r#""7d""#, "how long the journal keeps events"),
    key("journal.max_bytes", Kind::Bytes(1_048_576), r#""20GiB""#, "how much the journal keeps"),
    key(
        "dead.parked_ttl",
        Kind::Duration(SECOND, 3_650 * DAY),
        r#""30d""#,
        "how long discarded letters are kept",
    ),
    key(
        "admin.listen",
        Kind::Text,
        r#""127.0.0.1:9464""#,
        "address of /livez, /readyz and /metrics; port 0: any, logged",
    ),
    key(
        "shutdown.timeout",
        Kind::Duration(100, HOUR),
        r#""25s""#,
        "after SIGTERM the relay has finished within this",
    ),
];

/// The key of that path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// True if keys lie below this path.
pub fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// A known key or section that looks like this one, or else bears its name in another section.
pub fn similar(path: &str) -> Option<&'static str> {
    let known = || KEYS.iter().flat_map(|key| [Some(key.path), key.path.rsplit_once('.').map(|(of, _)| of)]);
    // more than a third of the name wrong is another name
    let near = |path: &'static str, distance: usize| distance <= 3 && distance * 3 <= last(path).len() + 1;
    let by_distance = known().flatten().map(|known| (strsim::damerau_levenshtein(known, path), known));
    let nearest = by_distance.filter(|(distance, known)| near(known, *distance)).min();
    let elsewhere = || KEYS.iter().map(|key| key.path).find(|known| last(path) == last(known));
    nearest.map(|(_, path)| path).or_else(elsewhere)
}

/// The last part of a path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
