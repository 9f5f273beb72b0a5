//! Names of keys. All keys of one resource lie in one bucket, whose name is the hash tag, so that each script stays in
//! one slot of a cluster.

use crate::core::resource::{ResourceKey, ResourceType, TargetId};
use crate::core::schedule::Lane;
use crate::pipeline::ports::Shelf;
use crate::store::bucket::{BUCKETS, bucket_of};

/// What is kept about one resource, each under a key of its own.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// Hash: version, token, record, target id.
    Record,
    /// Hash: member value to ledger entry (see `records.rs`).
    Members,
    /// Set: member values whose entries are dirty.
    DirtyMembers,
    /// Set: resources that wait for this one.
    Dependents,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Part::Record => "r",
            Part::Members => "m",
            Part::DirtyMembers => "dm",
            Part::Dependents => "dep",
        }
    }
}

/// The names of one target's keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// What every key of a bucket begins with: the target's name and the bucket are its hash tag.
    buckets: Vec<String>,
}

impl Keys {
    /// The keys of a target.
    pub(super) fn new(prefix: &str, target: &str) -> Self {
        let begin = |bucket| format!("{prefix}:{{{target}:b{bucket:02}}}:");
        Self { buckets: (0..BUCKETS).map(begin).collect() }
    }

    /// A key in a bucket.
    pub(super) fn in_bucket(&self, bucket: u8, rest: &str) -> String {
        [self.begin(bucket), rest].concat()
    }

    fn begin(&self, bucket: u8) -> &str {
        &self.buckets[usize::from(bucket)]
    }

    /// Where a resource lives.
    pub(super) fn home(&self, key: &ResourceKey) -> Home<'_> {
        let name = key.to_string();
        Home { keys: self, bucket: bucket_of(&name), name }
    }

    /// The key of one part of a resource.
    pub(super) fn part(&self, key: &ResourceKey, part: Part) -> String {
        self.home(key).part(part)
    }

    /// The schedule of one lane in a bucket.
    pub(super) fn lane(&self, bucket: u8, lane: Lane) -> String {
        [self.begin(bucket), "due:", lane.name()].concat()
    }

    /// The schedule of every lane in a bucket, in the lanes' order.
    pub(super) fn lanes(&self, bucket: u8) -> impl Iterator<Item = String> + '_ {
        Lane::ALL.into_iter().map(move |lane| self.lane(bucket, lane))
    }

    /// The lease of an owner in a bucket.
    pub(super) fn lease(&self, bucket: u8, owner: &str) -> String {
        self.in_bucket(bucket, &format!("lease:{owner}"))
    }

    /// Who holds a target resource.
    pub(super) fn owner(&self, kind: ResourceType, id: &TargetId) -> String {
        let name = format!("own:{kind}/{id}");
        self.in_bucket(bucket_of(&name), &name)
    }

    /// The generation of a bucket.
    pub(super) fn generation(&self, bucket: u8) -> String {
        self.in_bucket(bucket, "gen")
    }

    /// All resources of a bucket that have a record.
    pub(super) fn all(&self, bucket: u8) -> String {
        self.in_bucket(bucket, "all")
    }

    /// How many resources of a type in a bucket are active at the target.
    pub(super) fn active(&self, bucket: u8, kind: ResourceType) -> String {
        self.in_bucket(bucket, &format!("active:{kind}"))
    }

    /// The guard's places of a type: resources by the time at which they took one.
    pub(super) fn places(&self, kind: ResourceType) -> String {
        self.in_bucket(0, &format!("guard:{kind}"))
    }

    /// The switch that all replicas share.
    pub(super) fn circuit(&self) -> String {
        self.in_bucket(0, "circuit")
    }

    /// The budget of requests.
    pub(super) fn budget(&self) -> String {
        self.in_bucket(0, "budget")
    }

    /// Who may probe.
    pub(super) fn probe(&self) -> String {
        self.in_bucket(0, "probe")
    }

    /// Which replicas live.
    pub(super) fn replicas(&self) -> String {
        self.in_bucket(0, "replicas")
    }

    /// Notes of the relay itself.
    pub(super) fn notes(&self) -> String {
        self.in_bucket(0, "notes")
    }

    /// What tools know of letters.
    pub(super) fn shelf(&self, shelf: Shelf) -> String {
        self.in_bucket(0, &format!("letters:{}", shelf.name()))
    }

    /// Who works on something that one alone may work on.
    pub(super) fn lock(&self, name: &str) -> String {
        self.in_bucket(0, &format!("lock:{name}"))
    }

    /// A key that nobody writes.
    pub(super) fn ping(&self) -> String {
        self.in_bucket(0, "ping")
    }

    /// The hash tag of a key.
    pub(super) fn tag(key: &str) -> &str {
        key.split(['{', '}']).nth(1).unwrap_or_default()
    }
}

/// Where one resource lives: its bucket is found once for all its keys.
pub(super) struct Home<'a> {
    keys: &'a Keys,
    pub(super) bucket: u8,
    /// What the resource is called.
    pub(super) name: String,
}

impl Home<'_> {
    /// The key of one part.
    pub(super) fn part(&self, part: Part) -> String {
        [self.keys.begin(self.bucket), part.name(), ":", &self.name].concat()
    }

    /// Parts, then the schedule of every lane of its bucket.
    pub(super) fn with_lanes(&self, parts: &[Part]) -> Vec<String> {
        let parts = parts.iter().map(|part| self.part(*part));
        parts.chain(self.keys.lanes(self.bucket)).collect()
    }
}
