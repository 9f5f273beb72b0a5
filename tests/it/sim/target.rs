//! A target in memory that takes time, and fails by seed. Requests are processed by tasks of their own: a client that is
//! gone does not stop them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use scim_relay::core::operation::{Method, Operation};
use scim_relay::core::outcome::{Answer, NotSent, Outcome, Reply, Unknown};
use scim_relay::core::resource::{ResourceKey, ResourceType, TargetId};
use scim_relay::core::schedule::Millis;
use scim_relay::pipeline::ports::{BulkLimits, Capabilities, Clock, Failure, Query, Target, Transport};

use super::dice::Dice;
use super::directory::{Directory, Habits, refusal};
use super::faults::{Chances, Fate, Outage, POISON, Poison};
use super::traffic::{Kind, Traffic};

/// After so long a client gives up.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How the target presents itself.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    pub habits: Habits,
    /// Bulk, with so many operations.
    pub bulk: Option<usize>,
    /// A bulk request with more operations is 413; 0: there is no such endpoint after all.
    pub takes: usize,
    /// ServiceProviderConfig says that there is PATCH although there is none.
    pub claims_patch: bool,
    /// A filter's answer is everything.
    pub ignores_filters: bool,
    pub poison: Poison,
    /// Within so long a request that was given up is processed.
    pub late_window: Duration,
}

/// One write as it was processed, for checks.
#[derive(Clone, Debug)]
pub struct Processed {
    pub key: ResourceKey,
    pub method: Method,
    pub body: Option<Value>,
    pub status: u16,
    pub at: Millis,
}

impl std::fmt::Display for Processed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        write!(f, "{} {} {} -> {} {body}", self.at.0 % 100_000_000, self.method, self.key, self.status)
    }
}

#[derive(Debug)]
struct State {
    directory: Directory,
    chances: Chances,
    /// Unreachable until then.
    outage: Option<(Instant, Outage)>,
    /// What was poison is taken.
    tolerant: bool,
    /// Writes whose sender waits for an answer.
    open: BTreeMap<ResourceKey, u32>,
    processed: Vec<Processed>,
    traffic: Traffic,
}

#[derive(Debug)]
struct Inner {
    profile: Profile,
    dice: Dice,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// The target, as the client of this number sees it.
#[derive(Clone, Debug)]
pub struct SimTarget(Arc<Inner>, usize);

/// A request whose sender waits.
struct Open<'a>(&'a SimTarget, Kind, Vec<ResourceKey>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.traffic.end(self.1);
        for key in &self.2 {
            if let Some(count) = state.open.get_mut(key) {
                *count -= 1;
            }
        }
    }
}

impl SimTarget {
    pub fn new(profile: Profile, chances: Chances, clock: Arc<dyn Clock>, dice: Dice) -> Self {
        let state = State {
            directory: Directory::new(profile.habits),
            chances,
            outage: None,
            tolerant: false,
            open: BTreeMap::new(),
            processed: Vec::new(),
            traffic: Traffic::default(),
        };
        Self(Arc::new(Inner { profile, dice, clock, state: Mutex::new(state) }), 0)
    }

    /// The same target, as this client sees it.
    pub fn seen_by(&self, client: usize) -> Self {
        Self(self.0.clone(), client)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at, or changes, what the target holds.
    pub fn with<R>(&self, what: impl FnOnce(&mut Directory) -> R) -> R {
        what(&mut self.state().directory)
    }

    /// Nothing goes wrong from now on.
    pub fn heal(&self) {
        let mut state = self.state();
        state.chances = Chances::default();
        state.outage = None;
    }

    /// Other faults from now on.
    pub fn suffer(&self, chances: Chances) {
        self.state().chances = chances;
    }

    /// Takes what was poison from now on.
    pub fn tolerate(&self) {
        self.state().tolerant = true;
    }

    /// Nothing is answered for so long, each time in one of all ways.
    pub fn break_down(&self, length: Duration) {
        self.fail(length, Outage::Any);
    }

    /// Nothing is answered for so long.
    pub fn fail(&self, length: Duration, outage: Outage) {
        self.state().outage = Some((Instant::now() + length, outage));
    }

    pub fn processed(&self) -> Vec<Processed> {
        self.state().processed.clone()
    }

    /// What was asked so far.
    pub fn traffic(&self) -> Traffic {
        self.state().traffic.clone()
    }

    /// How a request of this kind fails, while the target is down.
    fn outage(&self, kind: Kind) -> Option<Outage> {
        let down = self.state().outage.filter(|(until, _)| Instant::now() < *until);
        down.map(|(_, outage)| outage).filter(|outage| *outage != Outage::Writes || kind == Kind::Write)
    }

    fn ask(&self, kind: Kind) -> Open<'_> {
        self.state().traffic.begin(self.1, kind, 0, self.0.clock.now());
        Open(self, kind, Vec::new())
    }

    fn open(&self, operations: &[Operation]) -> Open<'_> {
        let mut state = self.state();
        state.traffic.begin(self.1, Kind::Write, operations.len(), self.0.clock.now());
        let keys: Vec<ResourceKey> = operations.iter().map(|operation| operation.key.clone()).collect();
        for key in &keys {
            let count = state.open.entry(key.clone()).or_default();
            *count += 1;
            if *count > 1 {
                state.directory.violations.push(format!("{key}: two writes in flight"));
            }
        }
        drop(state);
        Open(self, Kind::Write, keys)
    }

    async fn latency(&self) {
        sleep(Duration::from_millis(self.0.dice.between(2, 150))).await;
    }

    /// Processes the operations in a task of its own, after `delay`.
    fn process(
        &self,
        operations: &[Operation],
        in_bulk: bool,
        delay: Duration,
    ) -> oneshot::Receiver<Vec<Answer>> {
        let (answered, answer) = oneshot::channel();
        let (target, operations) = (self.clone(), operations.to_vec());
        tokio::spawn(async move {
            sleep(delay).await;
            // the client may be gone
            let _ = answered.send(target.processed_now(&operations, in_bulk));
        });
        answer
    }

    fn processed_now(&self, operations: &[Operation], in_bulk: bool) -> Vec<Answer> {
        let mut ids = BTreeMap::new();
        operations.iter().map(|operation| self.processed_one(operation, in_bulk, &mut ids)).collect()
    }

    fn processed_one(
        &self,
        operation: &Operation,
        in_bulk: bool,
        ids: &mut BTreeMap<String, String>,
    ) -> Answer {
        let mut state = self.state();
        let trouble = in_bulk && self.0.dice.per_mille(state.chances.inside_bulk);
        let answer = match (is_poison(operation) && !state.tolerant, trouble) {
            (true, _) => refusal(400, "invalidValue"),
            (false, true) => refusal(*self.0.dice.pick(&[500, 429]), ""),
            (false, false) => state.directory.apply(operation, ids),
        };
        if let (201, Some(id)) = (answer.status, &answer.id) {
            ids.insert(operation.bulk_id.clone(), id.as_str().to_owned());
        }
        state.processed.push(Processed {
            key: operation.key.clone(),
            method: operation.method(),
            body: operation.body().cloned(),
            status: answer.status,
            at: self.0.clock.now(),
        });
        answer
    }

    async fn request(&self, operations: &[Operation], in_bulk: bool) -> Result<Vec<Answer>, Outcome> {
        let _open = self.open(operations);
        self.latency().await;
        if let Some(outage) = self.outage(Kind::Write) {
            return Err(self.unreachable(outage).await);
        }
        if in_bulk && operations.len() > self.0.profile.takes {
            return Err(plain(if self.0.profile.takes == 0 { 404 } else { 413 }, None));
        }
        if let Some(answer) = self.poisoned(operations, in_bulk) {
            return Err(Outcome::Answered(answer));
        }
        let delay = Duration::from_millis(self.0.dice.between(0, 150));
        let chances = self.state().chances;
        let fate = chances.fate(&self.0.dice, self.0.profile.late_window);
        match fate {
            Fate::Fine | Fate::Garbled => {
                let answers = self.process(operations, in_bulk, delay).await;
                let answers = answers.map_err(|_| Outcome::Unknown(Unknown::Dropped))?;
                self.latency().await;
                if fate == Fate::Garbled && !in_bulk {
                    return Err(Outcome::Unknown(Unknown::Unreadable));
                }
                Ok(answers)
            }
            Fate::LostReply => {
                drop(self.process(operations, in_bulk, delay));
                Err(self.give_up().await)
            }
            Fate::Late(later) => {
                drop(self.process(operations, in_bulk, TIMEOUT + later));
                sleep(TIMEOUT).await;
                Err(Outcome::Unknown(Unknown::Timeout))
            }
            Fate::Vanished => Err(self.give_up().await),
            Fate::Failed(status) => Err(plain(status, None)),
            Fate::FailedAfter(status) => {
                // its answers are lost with the one that counts
                let _ = self.process(operations, in_bulk, delay).await;
                Err(plain(status, None))
            }
            Fate::Busy(status, seconds) => Err(plain(status, Some(Duration::from_secs(seconds)))),
            Fate::Refused => Err(Outcome::NotSent(NotSent::Connect("refused".into()))),
        }
    }

    async fn give_up(&self) -> Outcome {
        match self.0.dice.per_mille(500) {
            true => {
                sleep(TIMEOUT).await;
                Outcome::Unknown(Unknown::Timeout)
            }
            false => {
                sleep(Duration::from_millis(400)).await;
                Outcome::Unknown(Unknown::Dropped)
            }
        }
    }

    async fn unreachable(&self, outage: Outage) -> Outcome {
        let way = match outage {
            Outage::Any => self.0.dice.below(3),
            Outage::Refused => 0,
            Outage::Failing | Outage::Writes => 1 + self.0.dice.below(2),
        };
        match way {
            0 => Outcome::NotSent(NotSent::Connect("refused".into())),
            1 => plain(*self.0.dice.pick(&[500, 502, 503]), None),
            _ => {
                sleep(TIMEOUT).await;
                Outcome::Unknown(Unknown::Timeout)
            }
        }
    }

    /// What a poison operation makes of the whole request.
    fn poisoned(&self, operations: &[Operation], in_bulk: bool) -> Option<Answer> {
        if !operations.iter().any(is_poison) {
            return None;
        }
        match self.0.profile.poison {
            Poison::Itself => None,
            Poison::RefusesBulk => in_bulk.then(|| refusal(400, "invalidSyntax")),
            Poison::BreaksServer => Some(Answer { status: 500, ..Answer::default() }),
        }
    }

    async fn reading(&self) -> Result<(), Failure> {
        let _open = self.ask(Kind::Lookup);
        self.latency().await;
        if let Some(outage) = self.outage(Kind::Lookup) {
            return Err(failure(self.unreachable(outage).await));
        }
        let chance = self.state().chances.read;
        match self.0.dice.per_mille(chance) {
            true => Err(failure(match self.0.dice.below(3) {
                0 => plain(429, Some(Duration::from_secs(2))),
                1 => plain(503, None),
                _ => Outcome::Unknown(Unknown::Dropped),
            })),
            false => Ok(()),
        }
    }

    /// Results of a bulk request; some are lost where it was garbled.
    fn results(&self, answers: Vec<Answer>) -> Vec<Outcome> {
        let garbled = self.state().chances.garbled;
        let lost = |answer| match self.0.dice.per_mille(garbled) {
            true => Outcome::Unknown(Unknown::Missing),
            false => Outcome::Answered(answer),
        };
        answers.into_iter().map(lost).collect()
    }
}

fn is_poison(operation: &Operation) -> bool {
    operation.body().is_some_and(|body| body.to_string().contains(POISON))
}

/// An answer without a SCIM error: a proxy's, or a broken server's.
fn plain(status: u16, retry_after: Option<Duration>) -> Outcome {
    Outcome::Answered(Answer { status, retry_after, ..Answer::default() })
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Answered(answer) => Failure::Answered(answer),
        broken => Failure::Broken(broken),
    }
}

impl Target for SimTarget {
    async fn discover(&self) -> Result<Capabilities, Failure> {
        let _open = self.ask(Kind::Probe);
        self.latency().await;
        if let Some(outage) = self.outage(Kind::Probe) {
            return Err(failure(self.unreachable(outage).await));
        }
        let Profile { habits, bulk, claims_patch, .. } = self.0.profile;
        let bulk = bulk.map(|max_operations| BulkLimits { max_operations, max_bytes: 0 });
        Ok(Capabilities { bulk, patch: habits.patch || claims_patch, etag: habits.etag, filter: Some(0) })
    }

    async fn send(&self, operations: &[Operation], transport: Transport, deadline: Instant) -> Reply {
        if transport == Transport::Bulk {
            if Instant::now() >= deadline {
                return Reply::Whole(Outcome::NotSent(NotSent::Deadline));
            }
            return match self.request(operations, true).await {
                Ok(answers) => Reply::Each(self.results(answers)),
                Err(outcome) => Reply::Whole(outcome),
            };
        }
        let mut outcomes = Vec::new();
        for operation in operations {
            outcomes.push(match Instant::now() >= deadline {
                true => Outcome::NotSent(NotSent::Deadline),
                false => match self.request(std::slice::from_ref(operation), false).await {
                    Ok(mut answers) => Outcome::Answered(answers.remove(0)),
                    Err(outcome) => outcome,
                },
            });
        }
        Reply::Each(outcomes)
    }

    async fn find(&self, kind: ResourceType, queries: &[Query]) -> Result<Vec<Value>, Failure> {
        self.reading().await?;
        let state = self.state();
        let ids: BTreeSet<&String> = match self.0.profile.ignores_filters {
            true => state.directory.all(kind).map(|(id, _)| id).collect(),
            false => queries.iter().flat_map(|query| state.directory.matching(kind, query)).collect(),
        };
        Ok(ids.into_iter().filter_map(|id| state.directory.shown(id)).collect())
    }

    async fn read(&self, kind: ResourceType, id: &TargetId) -> Result<Answer, Failure> {
        self.reading().await?;
        let state = self.state();
        match state.directory.get(id.as_str()) {
            Some(stored) if stored.kind == kind => Ok(state.directory.answer(id.as_str(), 200)),
            _ => Err(Failure::Answered(refusal(404, ""))),
        }
    }

    async fn count(&self, kind: ResourceType) -> Result<Option<u64>, Failure> {
        self.reading().await?;
        Ok(Some(self.state().directory.all(kind).count() as u64))
    }
}
