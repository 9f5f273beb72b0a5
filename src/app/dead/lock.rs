//! One tool at a time goes through a queue of letters: two would each see only a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::desk::Desk;
use crate::app::{Failure, failed};
use crate::cli::Exit;
use crate::ops::clock::ulid;
use crate::store::redis::{Holder, RedisStore};

/// How long the lock of a tool that was killed stays.
const HOLD: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How often a lock is asked for that somebody else holds.
const ASK: Duration = Duration::from_millis(250);

/// A held lock, renewed as long as it lives.
pub(super) struct Lock {
    store: Arc<RedisStore>,
    queue: String,
    owner: String,
    lost: Arc<AtomicBool>,
    renewing: JoinSet<()>,
}

impl Lock {
    /// Does something while holding the lock of a queue, and gives it back however that ended.
    pub(super) async fn within<T>(
        desk: &Desk,
        queue: &str,
        what: &str,
        work: impl AsyncFnOnce(&Lock) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let lock = Self::take(desk, queue, what).await?;
        let done = work(&lock).await;
        lock.release().await;
        done
    }

    /// Takes the lock; waits for that of a tool that was killed.
    async fn take(desk: &Desk, queue: &str, what: &str) -> Result<Self, Failure> {
        let owner = format!("{} ({what}) {}", desk.who, ulid());
        let attempts = (HOLD.as_millis() / ASK.as_millis()) + 4;
        for attempt in 0..attempts {
            match desk.store.lock(queue, &owner, HOLD).await.map_err(failed)? {
                Holder::Us => return Ok(Self::held(desk.store.clone(), queue.to_owned(), owner)),
                Holder::Other(other) if attempt == 0 => {
                    eprintln!("{} is at work on `{queue}`: waiting for it", name(&other));
                }
                Holder::Other(other) if attempt + 1 == attempts => {
                    let way = "try again when it is done";
                    return Err((format!("{} is at work on `{queue}`: {way}", name(&other)), Exit::Failed));
                }
                Holder::Other(_) => {}
            }
            tokio::time::sleep(ASK).await;
        }
        Err((format!("another tool is at work on `{queue}`"), Exit::Failed))
    }

    fn held(store: Arc<RedisStore>, queue: String, owner: String) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let mut renewing = JoinSet::new();
        let renewal = renew(store.clone(), queue.clone(), owner.clone(), lost.clone());
        renewing.spawn(renewal);
        Self { store, queue, owner, lost, renewing }
    }

    /// An error if somebody else has it meanwhile.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.lost.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err((
                format!("the lock on `{}` was lost: nothing is lost by that, start again", self.queue),
                Exit::Failed,
            )),
        }
    }

    /// Gives it back.
    async fn release(mut self) {
        self.renewing.shutdown().await;
        if let Err(error) = self.store.unlock(&self.queue, &self.owner).await {
            tracing::debug!(%error, "a lock ends by itself");
        }
    }
}

async fn renew(store: Arc<RedisStore>, queue: String, owner: String, lost: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(RENEW).await;
        match store.lock(&queue, &owner, HOLD).await {
            Ok(Holder::Us) => {}
            Ok(Holder::Other(_)) => {
                lost.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => tracing::debug!(%error, "a lock was not renewed"),
        }
    }
}

/// An owner without its unique part.
fn name(owner: &str) -> &str {
    match owner.rsplit_once(' ') {
        Some((name, _)) => name,
        None => "another tool",
    }
}
