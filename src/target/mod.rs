//! The target over HTTP: requests out, answers in, nothing decided. Implements [`crate::pipeline::ports::Target`].
//!
//! - `client`: operations and queries as requests; `find`: lookups, paged.
//! - `call`: one request with its token, a second try after a 401, redirects on the same host; `limiter`: its place in the budget.
//! - `exchange`: one attempt on the wire, with its limits; `failure`: what a broken one means.
//! - `auth`: static tokens and OAuth2 client credentials; `answer`: from bytes to answers.

mod answer;
mod auth;
mod call;
mod client;
mod exchange;
mod failure;
mod find;
mod limiter;
mod observer;
mod options;
mod token;

pub use client::HttpTarget;
pub use limiter::Limiter;
pub use observer::{Observer, RequestKind, Seen};
pub use options::{AuthOptions, BuildError, ClientAuth, ClientCredentials, TargetOptions, TlsOptions};
