//! A sandbox, and in front of it something that writes down which operations reach it and when.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use scim_relay::sandbox::{self, SandboxOptions};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use url::Url;

use super::relay::reqwest_client;

/// Longest body that is passed on, in bytes.
const MAX_BODY_BYTES: usize = 64 << 20;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A POST.
    Create,
    /// A PUT, or a PATCH that is none of the others.
    Update,
    /// A PATCH of nothing but members.
    Members,
    /// A DELETE, or a PATCH of nothing but `active`, to false.
    Deprovision,
}

/// A request that writes.
#[derive(Clone, Debug)]
pub struct Written {
    /// When it had come in.
    pub at: Instant,
    /// Whether it was a bulk request.
    pub bulk: bool,
    /// What it carries.
    pub operations: Vec<Kind>,
}

impl Written {
    /// How many operations of a kind it carries.
    pub fn count(&self, kind: Kind) -> usize {
        self.operations.iter().filter(|other| **other == kind).count()
    }
}

/// A target under observation.
pub struct Target {
    /// Where the relay finds it.
    pub base_url: Url,
    sandbox: sandbox::Running,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    written: Mutex<Vec<Written>>,
    came: Notify,
}

struct Proxy {
    http: reqwest::Client,
    root: String,
    seen: Arc<Seen>,
}

impl Target {
    /// An empty one, as the sandbox is by default.
    pub async fn start() -> Self {
        let sandbox = sandbox::start(SandboxOptions::on_any_port()).await.unwrap();
        let seen = Arc::new(Seen::default());
        let proxy = Proxy { http: reqwest_client(), root: sandbox.root_url(), seen: seen.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass_on).with_state(Arc::new(proxy));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let base_url = Url::parse(&format!("http://{address}/scim/v2")).unwrap();
        Self { base_url, sandbox, seen }
    }

    /// What was written so far.
    pub fn written(&self) -> Vec<Written> {
        self.seen.written.lock().unwrap().clone()
    }

    /// The first request that writes after so many.
    pub async fn written_after(&self, count: usize) -> Written {
        loop {
            let came = self.seen.came.notified();
            if let Some(written) = self.seen.written.lock().unwrap().get(count) {
                return written.clone();
            }
            came.await;
        }
    }

    /// Everything it holds, as `/_sandbox/state` shows it.
    pub async fn state(&self) -> Value {
        let url = format!("{}/_sandbox/state", self.sandbox.root_url());
        let answer = reqwest_client().get(url).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

async fn pass_on(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let at = Instant::now();
    if parts.method != Method::GET {
        let (bulk, operations) = operations(&parts.method, parts.uri.path(), &body);
        proxy.seen.written.lock().unwrap().push(Written { at, bulk, operations });
        proxy.seen.came.notify_waiters();
    }
    let path = parts.uri.path_and_query().unwrap();
    let passed = proxy.http.request(parts.method, format!("{}{path}", proxy.root));
    let answer = passed.headers(parts.headers).body(body).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from(answer.bytes().await.unwrap()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn operations(method: &Method, path: &str, body: &Bytes) -> (bool, Vec<Kind>) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if !path.ends_with("/Bulk") {
        return (false, vec![kind(method.as_str(), &body)]);
    }
    let operations = body["Operations"].as_array().into_iter().flatten();
    (true, operations.map(|it| kind(it["method"].as_str().unwrap_or_default(), &it["data"])).collect())
}

fn kind(method: &str, data: &Value) -> Kind {
    let changes = || data["Operations"].as_array().into_iter().flatten();
    let path = |change: &Value| change["path"].as_str().unwrap_or_default().to_owned();
    match method {
        "POST" => Kind::Create,
        "DELETE" => Kind::Deprovision,
        "PATCH" if changes().all(|change| path(change).starts_with("members")) => Kind::Members,
        "PATCH" if changes().all(|change| path(change) == "active" && change["value"] == false) => {
            Kind::Deprovision
        }
        _ => Kind::Update,
    }
}
