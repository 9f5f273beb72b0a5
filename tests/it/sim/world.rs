//! A world of one seed: a source, a broker, a store, a target and two replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use scim_relay::core::conflict::Policy;
use scim_relay::core::gap::Deprovisioning;
use scim_relay::core::generation::{Finding, Stamp, Standing};
use scim_relay::core::listing::Memberships;
use scim_relay::core::resource::ResourceKey;
use scim_relay::core::retry::Ladder;
use scim_relay::pipeline::ports::{Clock, Header, Message, Stamps, Store};
use scim_relay::pipeline::settings::{Mode, ReferenceKind, Settings};
use scim_relay::store::memory::MemoryStore;

use super::broker::{Disorder, SimBroker, routes};
use super::check::{Check, Foreign};
use super::clock::SimClock;
use super::dice::Dice;
use super::directory::Habits;
use super::events::Event;
use super::faults::{Chances, Poison};
use super::letters::homes;
use super::model::expected;
use super::replica::{Parts, Replica, reset_ids};
use super::store::SimStore;
use super::target::{Processed, Profile, SimTarget};

/// After so long without an end something goes round in circles.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// How long a request that was given up may still be processed.
pub const LATE_WINDOW: Duration = Duration::from_secs(45);

/// Rungs of the simulated ladder.
pub const DELAYS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// The target of the examples: all features, no faults.
pub fn profile() -> Profile {
    Profile {
        habits: Habits {
            etag: true,
            patch: true,
            strict_members: false,
            cascade: true,
            unique: false,
            soft_delete: false,
            lists_members: true,
            whole_lists: false,
            stubborn: None,
        },
        bulk: Some(100),
        takes: usize::MAX,
        claims_patch: false,
        ignores_filters: false,
        poison: Poison::Itself,
        late_window: LATE_WINDOW,
    }
}

/// The settings of the examples.
pub fn settings() -> Settings {
    Settings {
        target: "simulation".into(),
        max_event_bytes: 1 << 20,
        max_clock_skew: Duration::from_secs(600),
        wait_for_base: Duration::from_secs(60),
        reference_wait: Duration::from_secs(300),
        held_expires_after: Duration::from_secs(30 * 86_400),
        references: ReferenceKind::ExternalId,
        read_only: false,
        protected: Vec::new(),
        adopt: true,
        mode: Mode::Auto,
        max_operations: 500,
        max_bytes: 1 << 20,
        linger: Duration::from_millis(50),
        catch_up: Duration::from_secs(10),
        concurrency: 4,
        ladder: Ladder { delays: DELAYS.to_vec(), max_attempts: 5 },
        user: Deprovisioning::Deactivate,
        group: Deprovisioning::Delete,
        memberships: Memberships::Keep,
        guard: None,
        conflict: Policy::default(),
        members_are_authoritative: false,
        late_window: LATE_WINDOW,
        journal: Some(Duration::from_secs(7 * 86_400)),
        tombstone_ttl: Duration::from_secs(90 * 86_400),
        dialect: Arc::default(),
        routes: routes(DELAYS.len()),
    }
}

/// What is wrong with this world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub target: Chances,
    pub broker: Disorder,
    /// Store failures, per mille of calls.
    pub store: u32,
}

/// The world.
pub struct World {
    pub parts: Parts,
    pub events: Vec<Event>,
    pub base: BTreeMap<ResourceKey, Map<String, Value>>,
    pub foreign: Foreign,
    pub replicas: Vec<Replica>,
    /// So many dead letters were replayed: they are nobody's home any more.
    replayed: usize,
}

impl World {
    pub fn new(seed: u64, profile: Profile, settings: Settings, weather: Weather) -> Self {
        reset_ids();
        let clock: Arc<dyn Clock> = Arc::new(SimClock::start());
        let delays = settings.ladder.delays.clone();
        let memory = MemoryStore::new(clock.clone());
        let parts = Parts {
            store: Arc::new(SimStore::new(memory, weather.store, Dice::new(seed, "store"))),
            target: SimTarget::new(profile, weather.target, clock.clone(), Dice::new(seed, "target")),
            broker: SimBroker::new(delays, weather.broker, Dice::new(seed, "broker")),
            clock,
            settings: Arc::new(settings),
        };
        let (base, foreign) = (BTreeMap::new(), Foreign::default());
        Self { parts, events: Vec::new(), base, foreign, replicas: Vec::new(), replayed: 0 }
    }

    /// A good day for everybody.
    pub fn calm(profile: Profile, settings: Settings) -> Self {
        Self::new(0, profile, settings, Weather::default())
    }

    pub fn start(&mut self, replicas: usize) {
        for _ in 0..replicas {
            self.replicas.push(Replica::start(&self.parts, self.replicas.len()));
        }
    }

    /// A replica dies, and another one takes its place.
    pub async fn crash(&mut self, which: usize) {
        let dead = std::mem::replace(&mut self.replicas[which], Replica::start(&self.parts, which));
        dead.kill().await;
    }

    pub fn publish(&mut self, event: Event) {
        self.parts.broker.enter(event.message());
        self.events.push(event);
    }

    pub fn heal(&self) {
        self.parts.target.heal();
        self.parts.store.heal();
        self.parts.broker.heal();
    }

    /// Waits until nothing waits, neither at the broker nor in the schedule.
    pub async fn rest(&mut self) {
        let began = Instant::now();
        let mut quiet = 0;
        while quiet < 3 {
            sleep(Duration::from_secs(1)).await;
            self.replicas.iter_mut().for_each(Replica::check);
            let backlog = self.parts.store.memory.backlog().await.unwrap();
            let idle = self.parts.broker.is_empty() && backlog.pending.is_empty() && self.is_whole().await;
            quiet = if idle { quiet + 1 } else { 0 };
            assert!(
                began.elapsed() < PATIENCE,
                "no rest: {backlog:?}, {} dead letters",
                self.parts.broker.dead().len()
            );
        }
    }

    /// True unless the store has lost something that is not recovered yet.
    async fn is_whole(&self) -> bool {
        let memory = &self.parts.store.memory;
        let note = memory.recall("stamp").await.unwrap().unwrap_or_default();
        let stamp: Option<Stamp> = serde_json::from_str(&note).ok();
        let (parts, nodes) = (memory.generations().await.unwrap(), memory.nodes().await.unwrap());
        let standing = Standing { stamp, parts, nodes, beat: None };
        matches!(standing.judge(self.parts.clock.now()), Finding::Ready(_))
    }

    /// An operator replays all dead letters.
    pub fn replay(&mut self) {
        let letters = self.parts.broker.dead();
        self.replayed = letters.len();
        for mut letter in letters {
            if let Some(Header::Text(key)) = letter.headers.get("x-relay-routing-key") {
                letter.routing_key = key.clone();
            }
            letter.headers.clear();
            self.parts.broker.enter(Message { exchange: "intake".into(), ..letter });
        }
    }

    pub async fn stop(&mut self) {
        for replica in self.replicas.drain(..) {
            replica.stop().await;
        }
    }

    /// Where the target differs from what the events say.
    pub fn problems(&self) -> Vec<String> {
        let alone = alone(&self.parts.target.processed());
        let (expected, homes) =
            (expected(&self.events, &self.base), homes(&self.parts.broker.dead()[self.replayed..]));
        self.parts.target.with(|directory| {
            let check = Check {
                directory,
                expected: &expected,
                homes: &homes,
                foreign: &self.foreign,
                user: self.parts.settings.user,
                group: self.parts.settings.group,
                memberships: self.parts.settings.memberships,
                problems: alone,
            };
            check.run()
        })
    }

    /// What was said, what was processed and what was dead-lettered, for whoever looks into one seed.
    fn tell(&self) {
        for event in &self.events {
            eprintln!("event {} {} {:?}", event.seq, event.key, event.said);
        }
        for processed in self.parts.target.processed() {
            eprintln!("{processed}");
        }
        for letter in self.parts.broker.dead() {
            eprintln!("dead {} {}", super::letters::class(&letter), String::from_utf8_lossy(&letter.body));
        }
    }

    /// Fails, with all differences, unless the target is as the events say.
    pub fn assert_converged(&self) {
        let problems = self.problems();
        if !problems.is_empty() && std::env::var("SIM_SEED").is_ok() {
            self.tell();
        }
        assert!(problems.is_empty(), "\n  {}", problems.join("\n  "));
    }
}

/// Deprovisioning operations that carry something else.
fn alone(processed: &[Processed]) -> Vec<String> {
    let deactivates = |operation: &Value| operation["path"] == "active" && operation["value"] == false;
    let mixed = processed.iter().filter(|processed| {
        let operations = processed.body.as_ref().and_then(|body| body["Operations"].as_array());
        operations.is_some_and(|all| all.len() > 1 && all.iter().any(deactivates))
    });
    mixed.map(|processed| format!("{}: deactivated together with something else", processed.key)).collect()
}

/// Runs a world on paused time.
pub fn run<R>(world: impl Future<Output = R>) -> R {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(world)
}
