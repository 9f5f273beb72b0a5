//! The sandbox as a whole: one lock around everything that changes.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Auth;
use super::dice::Dice;
use super::directory::Directory;
use super::faults::Faults;
use super::limiter::{Allowance, Bucket};
use super::log::RequestLog;
use super::manners::Manners;
use super::options::SandboxOptions;
use super::provider::Provider;

/// What requests share.
#[derive(Debug)]
pub struct World {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ends everything that waits.
    pub stop: CancellationToken,
    /// Every task of the sandbox.
    pub tasks: TaskTracker,
    /// What is special about the provider.
    pub manners: Manners,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub struct State {
    /// Resources, faults, chance.
    pub provider: Provider,
    /// Tokens.
    pub auth: Auth,
    /// Requests.
    pub log: RequestLog,
    /// Counts how often all was emptied: what was on its way before does not arrive after.
    pub era: u64,
    buckets: Buckets,
}

/// What is left of the limits: those of the faults, and those of the provider.
#[derive(Debug, Default)]
struct Buckets {
    requests: [Bucket; 2],
    operations: [Bucket; 2],
}

impl World {
    /// An empty one.
    pub fn new(options: SandboxOptions, address: SocketAddr, stop: CancellationToken) -> Self {
        let lifetime = SignedDuration::from_secs(i64::from(options.token_lifetime));
        let client = options.client_id.zip(options.client_secret);
        let manners = options.profile.unwrap_or_default();
        let state = State {
            provider: Provider::new(manners.clone(), options.faults, Dice::new(options.seed)),
            auth: Auth::new(options.token, client, lifetime),
            log: RequestLog::default(),
            era: 0,
            buckets: Buckets::default(),
        };
        Self { address, stop, tasks: TaskTracker::new(), manners, state: Mutex::new(state) }
    }

    /// The state. A request that panicked leaves it as it was left; the sandbox goes on.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No resources, no requests, no faults, not even those of the flags. Tokens stay good, and the provider what it is.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.provider.directory = Directory::default();
        state.provider.set_faults(Faults::default());
        state.log.clear();
        state.era += 1;
        state.buckets = Buckets::default();
    }
}

impl State {
    /// Counts a request.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn within_limits(&mut self, operations: usize, now: Timestamp) -> Result<(), u64> {
        let Provider { faults, manners, .. } = &self.provider;
        let [of_faults, of_provider] = &mut self.buckets.requests;
        of_faults.take(Allowance::a_second(faults.requests_per_second), 1, now)?;
        of_provider.take(manners.requests(), manners.cost(operations), now)?;
        if operations == 0 {
            return Ok(());
        }
        let [of_faults, of_provider] = &mut self.buckets.operations;
        of_faults.take(Allowance::a_second(faults.operations_per_second), operations, now)?;
        of_provider.take(manners.operations(), operations, now)
    }
}
