//! From HTTP to the parts of the sandbox and back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use http_body::Frame;

use super::admin;
use super::answer::Answer;
use super::error::Refusal;
use super::exchange::{self, Ending};
use super::line::Scissors;
use super::world::World;

/// The most bytes of any body. Bulk requests have a lower limit of their own.
const MAX_BODY_BYTES: usize = 256 << 20;

const HTML: &str =
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>\n";

/// The service.
pub fn router(world: Arc<World>) -> Router {
    Router::new().fallback(respond).with_state(world)
}

async fn respond(
    State(world): State<Arc<World>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return response(Refusal::new(413, format!("a body may have {MAX_BODY_BYTES} bytes")).into());
    };
    let path = parts.uri.path();
    if path.starts_with("/_sandbox/") {
        let base = format!("{}{}", exchange::origin(&world, &parts.headers), world.manners.base_path());
        return response(admin::answer(&world, parts.method.as_str(), path, &body, &base).plain_json());
    }
    if path == "/oauth/token" || path == admin::ACCESS_KEY_PATH {
        return response(admin::token(&world, &parts, &body).plain_json());
    }
    if world.manners.below(path).is_none() {
        return response(Refusal::not_found(path).into());
    }
    // a task of its own: a client that goes away does not stop what it asked for
    let running = world.tasks.spawn(exchange::run(world.clone(), parts, body));
    match running.await {
        Ok(ending) => finish(ending, &world, &scissors).await,
        Err(error) => {
            tracing::error!(%error, "a request of the sandbox failed");
            response(Refusal::new(500, "the sandbox failed").into())
        }
    }
}

async fn finish(ending: Ending, world: &World, scissors: &Scissors) -> Response {
    match ending {
        Ending::Answer(answer) => response(answer),
        Ending::Half(answer) => half(response(answer)).await,
        Ending::Html => html(),
        Ending::Cut => cut(scissors).await,
        Ending::Silence => {
            let hang = world.lock().provider.faults.hang_ms;
            silence(hang, world).await;
            cut(scissors).await
        }
    }
}

/// Waits until the client gives up, which drops this future, or for so many milliseconds.
async fn silence(milliseconds: u64, world: &World) {
    let end = async {
        match milliseconds {
            0 => std::future::pending().await,
            _ => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
        }
    };
    tokio::select! {
        () = world.stop.cancelled() => {}
        () = end => {}
    }
}

async fn cut(scissors: &Scissors) -> Response {
    scissors.cut();
    // the connection ends, and with it this future
    std::future::pending().await
}

fn response(answer: Answer) -> Response {
    let body = answer.body.map(|body| body.to_string());
    let mut response = Response::new(body.clone().map_or(Body::empty(), Body::from));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if body.is_some() {
        // unless the answer has its own
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
    }
    insert(headers, answer.headers);
    response
}

/// Values that no header can have are left out: they come from what clients sent.
fn insert(headers: &mut HeaderMap, values: Vec<(&'static str, String)>) {
    for (name, value) in values {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

fn html() -> Response {
    let mut response = Response::new(Body::from(HTML));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// The answer with the length of the whole body and half of its bytes.
async fn half(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len().max(1)));
    let first = whole.slice(..whole.len() / 2);
    Response::from_parts(parts, Body::new(BrokenOff::Begins(first)))
}

/// A body that ends with an error.
enum BrokenOff {
    /// What there is of it comes next.
    Begins(Bytes),
    /// It has been handed over. An error at once would end the connection before anything is sent.
    Pauses,
    /// The error comes next.
    Breaks,
}

impl http_body::Body for BrokenOff {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match std::mem::replace(&mut *self, BrokenOff::Breaks) {
            BrokenOff::Begins(first) => {
                *self = BrokenOff::Pauses;
                Poll::Ready(Some(Ok(Frame::data(first))))
            }
            BrokenOff::Pauses => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            BrokenOff::Breaks => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
