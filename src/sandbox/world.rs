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
use super::limiter::Bucket;
use super::log::RequestLog;
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
    requests: Bucket,
    operations: Bucket,
}

impl World {
    /// An empty one.
    pub fn new(options: SandboxOptions, address: SocketAddr, stop: CancellationToken) -> Self {
        let lifetime = SignedDuration::from_secs(i64::from(options.token_lifetime));
        let client = options.client_id.zip(options.client_secret);
        let state = State {
            provider: Provider::new(options.faults, Dice::new(options.seed)),
            auth: Auth::new(options.token, client, lifetime),
            log: RequestLog::default(),
            era: 0,
            requests: Bucket::default(),
            operations: Bucket::default(),
        };
        Self { address, stop, tasks: TaskTracker::new(), state: Mutex::new(state) }
    }

    /// The state. A request that panicked leaves it as it was left; the sandbox goes on.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No resources, no requests, no faults, not even those of the flags. Tokens stay good.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.provider.directory = Directory::default();
        state.provider.faults = Faults::default();
        state.log.clear();
        state.era += 1;
        state.requests = Bucket::default();
        state.operations = Bucket::default();
    }
}

impl State {
    /// Counts a request.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn within_limits(&mut self, operations: usize, now: Timestamp) -> Result<(), u64> {
        let faults = &self.provider.faults;
        self.requests.take(faults.requests_per_second, 1, now)?;
        if operations == 0 {
            Ok(())
        } else {
            self.operations.take(faults.operations_per_second, operations, now)
        }
    }
}
