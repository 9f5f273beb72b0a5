//! A broker in memory: `urgent` and `work`, the retry ladder, dead letters. Deliveries come again when a session ends;
//! order and number are a matter of the seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use scim_relay::pipeline::ports::{
    Consumer, Delivery, Entry, From, Header, Message, PublishError, Publisher, SessionEnded, Source, Stream,
    StreamReader,
};
use scim_relay::pipeline::recover::Streams;
use scim_relay::pipeline::settings::Routes;

use super::dice::Dice;

/// Disorder, per mille.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disorder {
    /// Of a message to be delivered twice.
    pub twice: u32,
    /// Of a message to be put anywhere in the queue.
    pub anywhere: u32,
    /// Of a session to end with a call.
    pub session: u32,
    /// Of a confirm to be missing, whether the broker has the message or not.
    pub confirm: u32,
}

#[derive(Clone, Debug)]
struct Queued {
    message: Message,
    redeliveries: u32,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<Source, VecDeque<Queued>>,
    /// Per session: what was delivered and not acknowledged.
    unanswered: BTreeMap<u64, BTreeMap<(Source, u64), Queued>>,
    sessions: u64,
    tags: u64,
    /// Messages that wait on a rung.
    on_rungs: usize,
    dead: Vec<Message>,
    held: Vec<Message>,
    retries: Vec<Message>,
    journal: SimLog,
    outcomes: SimLog,
    disorder: Disorder,
    unroutable: Vec<String>,
}

/// What a stream holds, in order.
#[derive(Debug, Default)]
struct SimLog {
    /// When each was published.
    entries: VecDeque<(Instant, Message)>,
    /// How many were truncated before them.
    gone: usize,
    /// What is older is truncated.
    keep: Option<Duration>,
}

impl SimLog {
    fn push(&mut self, message: Message) {
        self.entries.push_back((Instant::now(), message));
        self.truncate();
    }

    fn truncate(&mut self) {
        let Some(keep) = self.keep else { return };
        while self.entries.front().is_some_and(|(at, _)| at.elapsed() > keep) {
            self.entries.pop_front();
            self.gone += 1;
        }
    }

    /// Entries from a place on; from the first one there is, if that is gone.
    fn from(&mut self, at: usize) -> Vec<Entry> {
        self.truncate();
        let skip = at.saturating_sub(self.gone);
        let ahead = self.entries.iter().enumerate().skip(skip).take(100);
        ahead
            .map(|(index, (_, message))| Entry {
                offset: (self.gone + index) as u64,
                message: message.clone(),
            })
            .collect()
    }
}

/// The broker.
#[derive(Clone, Debug)]
pub struct SimBroker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    dice: Dice,
    arrived: Notify,
    delays: Vec<Duration>,
}

/// Exchanges, keys and rungs of the simulation.
pub fn routes(rungs: usize) -> Routes {
    Routes {
        intake: "intake".into(),
        out: "out".into(),
        dead: "dead".into(),
        held: "held".into(),
        outcomes: Some("outcomes".into()),
        rungs: (0..rungs).map(|rung| format!("rung-{rung}")).collect(),
    }
}

impl SimBroker {
    pub fn new(delays: Vec<Duration>, disorder: Disorder, dice: Dice) -> Self {
        let state = Mutex::new(State { disorder, ..State::default() });
        Self(Arc::new(Inner { state, dice, arrived: Notify::new(), delays }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The streams keep what is no older than this from now on.
    pub fn keep(&self, age: Duration) {
        let mut state = self.state();
        (state.journal.keep, state.outcomes.keep) = (Some(age), Some(age));
    }

    /// No disorder from now on.
    pub fn heal(&self) {
        self.state().disorder = Disorder::default();
    }

    /// Dead letters, in order.
    pub fn dead(&self) -> Vec<Message> {
        self.state().dead.clone()
    }

    /// Letters that wait for an operator, in order.
    pub fn held(&self) -> Vec<Message> {
        self.state().held.clone()
    }

    /// Letters that went to a rung, in order.
    pub fn retries(&self) -> Vec<Message> {
        self.state().retries.clone()
    }

    /// True when nothing waits, is unanswered, or is on a rung.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        assert!(state.unroutable.is_empty(), "went nowhere: {:?}", state.unroutable);
        state.on_rungs == 0
            && state.queues.values().all(VecDeque::is_empty)
            && state.unanswered.values().all(BTreeMap::is_empty)
    }

    /// How many messages wait to be delivered.
    fn waiting(&self) -> u64 {
        self.state().queues.values().map(|queue| queue.len() as u64).sum()
    }

    /// Routes a message of an exchange that is bound to `intake`, or of `intake` itself.
    pub fn enter(&self, message: Message) {
        let key = message.routing_key.as_str();
        let deprovisions = matches!(key, "directory.user.delete" | "directory.user.deactivate");
        let urgent = deprovisions || key.ends_with(".intent.urgent");
        let mut state = self.state();
        state.journal.push(message.clone());
        for _ in 0..1 + u32::from(self.0.dice.per_mille(state.disorder.twice)) {
            for source in [Source::Urgent, Source::Work] {
                if source == Source::Work || urgent {
                    let queued = Queued { message: message.clone(), redeliveries: 0 };
                    self.put(&mut state, source, queued);
                }
            }
        }
        drop(state);
        self.0.arrived.notify_waiters();
    }

    fn put(&self, state: &mut State, source: Source, queued: Queued) {
        let anywhere = self.0.dice.per_mille(state.disorder.anywhere);
        let queue = state.queues.entry(source).or_default();
        match anywhere {
            true => queue.insert(self.0.dice.below(queue.len() + 1), queued),
            false => queue.push_back(queued),
        }
    }

    fn out(&self, message: Message) {
        let mut state = self.state();
        if message.routing_key == "dead" {
            state.dead.push(message);
            return;
        }
        if message.routing_key == "outcomes" {
            state.outcomes.push(message);
            drop(state);
            self.0.arrived.notify_waiters();
            return;
        }
        if message.routing_key == "held" {
            state.held.push(message);
            return;
        }
        let rung = match message.headers.get("BCC") {
            Some(Header::List(keys)) => keys.first().and_then(|key| key.strip_prefix("rung-")?.parse().ok()),
            _ => None,
        };
        let Some(delay) = rung.and_then(|rung: usize| self.0.delays.get(rung).copied()) else {
            state.unroutable.push(message.routing_key);
            return;
        };
        state.on_rungs += 1;
        state.retries.push(message.clone());
        let broker = self.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            broker.state().on_rungs -= 1;
            broker.enter(Message { exchange: "intake".into(), ..message });
        });
    }

    /// A consumer with a session of its own.
    pub fn consumer(&self) -> SimConsumer {
        SimConsumer { broker: self.clone(), session: None }
    }

    pub fn publisher(&self) -> SimPublisher {
        SimPublisher(self.clone())
    }

    fn end(&self, session: u64) {
        let mut state = self.state();
        let unanswered = state.unanswered.remove(&session).unwrap_or_default();
        for ((source, _), queued) in unanswered.into_iter().rev() {
            let queued = Queued { redeliveries: queued.redeliveries + 1, ..queued };
            match self.0.dice.per_mille(state.disorder.anywhere) {
                true => self.put(&mut state, source, queued),
                false => state.queues.entry(source).or_default().push_front(queued),
            }
        }
        drop(state);
        self.0.arrived.notify_waiters();
    }

    fn deliver(&self, session: u64, limit: usize) -> Vec<Delivery> {
        let mut state = self.state();
        let mut deliveries = Vec::new();
        for source in [Source::Urgent, Source::Work] {
            while deliveries.len() < limit
                && let Some(queued) = state.queues.entry(source).or_default().pop_front()
            {
                state.tags += 1;
                let tag = state.tags;
                state.unanswered.entry(session).or_default().insert((source, tag), queued.clone());
                deliveries.push(Delivery {
                    session,
                    tag,
                    source,
                    from_publishers: queued.message.exchange != "intake",
                    redeliveries: queued.redeliveries,
                    message: queued.message,
                });
            }
        }
        deliveries
    }
}

/// Consumes; dropping it ends its session, as the death of a process does.
#[derive(Debug)]
pub struct SimConsumer {
    broker: SimBroker,
    session: Option<u64>,
}

impl SimConsumer {
    fn session(&mut self) -> u64 {
        *self.session.get_or_insert_with(|| {
            let mut state = self.broker.state();
            state.sessions += 1;
            state.sessions
        })
    }

    fn end(&mut self) {
        if let Some(session) = self.session.take() {
            self.broker.end(session);
        }
    }

    fn breaks(&mut self) -> Result<(), SessionEnded> {
        let chance = self.broker.state().disorder.session;
        match self.broker.0.dice.per_mille(chance) {
            true => {
                self.end();
                Err(SessionEnded("simulated".into()))
            }
            false => Ok(()),
        }
    }
}

impl Drop for SimConsumer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Consumer for SimConsumer {
    async fn waiting(&mut self) -> Result<u64, SessionEnded> {
        self.breaks()?;
        self.session();
        Ok(self.broker.waiting())
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Delivery>, SessionEnded> {
        self.breaks()?;
        let session = self.session();
        loop {
            let broker = self.broker.clone();
            let arrived = broker.0.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let deliveries = broker.deliver(session, limit);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            arrived.await;
        }
    }

    async fn ack(&mut self, session: u64, source: Source, tag: u64) -> Result<(), SessionEnded> {
        self.breaks()?;
        if self.session != Some(session) {
            return Err(SessionEnded("another session stands".into()));
        }
        let mut state = self.broker.state();
        if let Some(unanswered) = state.unanswered.get_mut(&session) {
            unanswered.retain(|(of, number), _| *of != source || *number > tag);
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.end();
    }
}

/// Publishes; a confirm can be missing.
#[derive(Debug)]
pub struct SimPublisher(SimBroker);

impl Publisher for SimPublisher {
    async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let dice = &self.0.0.dice;
        sleep(Duration::from_millis(dice.between(0, 5))).await;
        let (exchange, routing_key) = (message.exchange.clone(), message.routing_key.clone());
        let chance = self.0.state().disorder.confirm;
        let unconfirmed = dice.per_mille(chance);
        if !unconfirmed || dice.per_mille(500) {
            match exchange.as_str() {
                "out" => self.0.out(message),
                _ => self.0.enter(message),
            }
        }
        sleep(Duration::from_millis(dice.between(0, 5))).await;
        match unconfirmed {
            true => Err(PublishError { exchange, routing_key, reason: "no confirm".into() }),
            false => Ok(()),
        }
    }
}

/// A stream of the broker.
#[derive(Clone, Debug)]
pub struct SimStream {
    broker: SimBroker,
    outcomes: bool,
}

impl SimBroker {
    /// The journal, and the outcomes.
    pub fn streams(&self) -> Streams<SimStream> {
        let stream = |outcomes| SimStream { broker: self.clone(), outcomes };
        Streams { journal: stream(false), outcomes: stream(true) }
    }
}

impl Stream for SimStream {
    type Reader = SimReader;

    async fn read(&self, _: From) -> Result<SimReader, SessionEnded> {
        Ok(SimReader { stream: self.clone(), at: 0 })
    }
}

/// Reads a stream from its beginning.
#[derive(Debug)]
pub struct SimReader {
    stream: SimStream,
    at: usize,
}

impl StreamReader for SimReader {
    async fn next(&mut self) -> Result<Vec<Entry>, SessionEnded> {
        let SimStream { broker, outcomes } = self.stream.clone();
        loop {
            let chance = broker.state().disorder.session;
            if broker.0.dice.per_mille(chance) {
                return Err(SessionEnded("simulated".into()));
            }
            let arrived = broker.0.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let entries = {
                let mut state = broker.state();
                let state = &mut *state;
                let log = if outcomes { &mut state.outcomes } else { &mut state.journal };
                log.from(self.at)
            };
            if let Some(last) = entries.last() {
                self.at = last.offset as usize + 1;
                return Ok(entries);
            }
            arrived.await;
        }
    }
}
