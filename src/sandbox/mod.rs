//! `scim-relay sandbox`: a SCIM 2.0 service provider in memory (RFC 7643, RFC 7644), with faults on request.
//!
//! For development and tests: it keeps nothing, and its tokens are only as random as its seed. A request becomes a
//! [`service::Call`], chance decides its [`fate`], [`service`] answers it from the [`directory`], [`http`] sends that, or what
//! the fault leaves of it.

mod admin;
mod answer;
mod auth;
mod bulk;
mod clock;
mod dice;
mod directory;
mod endpoint;
mod error;
mod etag;
mod exchange;
mod fate;
mod faults;
mod filter;
mod http;
mod limiter;
mod line;
mod log;
mod manners;
mod members;
mod options;
mod patch;
mod path;
mod provider;
mod query;
mod schema;
mod service;
mod view;
mod world;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use line::{Lines, Scissors};
use world::World;

pub use faults::{Faults, Rate, RetryAfterForm, Scope};
pub use manners::{Manners, MannersError};
pub use options::SandboxOptions;

/// How long requests in flight may take after the sandbox is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a sandbox could not be started or went down.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address can not be listened on.
    #[error("can not listen on {address}")]
    Listen {
        /// As it was given.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running sandbox. It stops when it is dropped, or [`Running::stop`] is called.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    base_path: String,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// `http://ADDR/scim/v2`, or the base path of the profile.
    pub fn base_url(&self) -> String {
        format!("http://{}{}", self.addr, self.base_path)
    }

    /// `http://ADDR`, below which `/_sandbox` and `/oauth/token` are.
    pub fn root_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Waits until it has stopped.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a sandbox, which goes on until the value is dropped.
///
/// # Errors
/// [`SandboxError::Listen`]
pub async fn start(options: SandboxOptions) -> Result<Running, SandboxError> {
    start_until(options, CancellationToken::new()).await
}

/// Serves until `shutdown`; says on stderr where, once it listens.
///
/// # Errors
/// [`SandboxError::Listen`]
pub async fn serve(options: SandboxOptions, shutdown: CancellationToken) -> Result<(), SandboxError> {
    let running = start_until(options, shutdown).await?;
    eprintln!("listening on {}", running.base_url());
    running.stopped().await;
    Ok(())
}

async fn start_until(options: SandboxOptions, stop: CancellationToken) -> Result<Running, SandboxError> {
    let address = options.listen.clone();
    let failed = |source| SandboxError::Listen { address: address.clone(), source };
    let listener = TcpListener::bind(&options.listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let base_path = options.profile.clone().unwrap_or_default().base_path();
    let stop = stop.child_token();
    let world = Arc::new(World::new(options, addr, stop.clone()));
    let tasks = world.tasks.clone();
    tasks.spawn(listen(world, listener));
    tasks.close();
    Ok(Running { addr, base_path, stop, tasks })
}

async fn listen(world: Arc<World>, listener: TcpListener) {
    let stop = world.stop.clone();
    let service = http::router(world).into_make_service_with_connect_info::<Scissors>();
    let serving =
        axum::serve(Lines(listener), service).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        // it only ends when it is told to
        _ = serving.into_future() => {}
        () = overdue => {}
    }
}
