//! `/_sandbox`: what tests look at and change, and `/oauth/token`.

use axum::body::Bytes;
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::answer::Answer;
use super::clock;
use super::error::{Refusal, ScimType};
use super::faults::Faults;
use super::log::Entry;
use super::provider::Provider;
use super::schema::Kind;
use super::view::Projection;
use super::world::{State, World};

/// Answers a request below `/_sandbox`. `base` is the address of the provider.
pub fn answer(world: &World, method: &str, path: &str, body: &Bytes, base: &str) -> Answer {
    match (path, method) {
        ("/_sandbox/state", "GET") => Answer::json(200, resources(&world.lock().provider, base)),
        ("/_sandbox/state", "POST") => {
            let placed = place(&mut world.lock().provider, body, base);
            placed.unwrap_or_else(Answer::from)
        }
        ("/_sandbox/state", "DELETE") => {
            world.reset();
            Answer::empty(204)
        }
        ("/_sandbox/requests", "GET") => {
            let entries = world.lock().log.entries();
            Answer::json(200, json!(entries))
        }
        ("/_sandbox/faults", "GET") => Answer::json(200, json!(world.lock().provider.asked())),
        ("/_sandbox/faults", "PUT") => put_faults(world, body).unwrap_or_else(Answer::from),
        ("/_sandbox/state" | "/_sandbox/requests" | "/_sandbox/faults", _) => {
            Refusal::new(405, format!("{method} is not allowed here")).into()
        }
        _ => Refusal::not_found(path).into(),
    }
}

/// All resources by endpoint, whole.
fn resources(provider: &Provider, base: &str) -> Value {
    let view = provider.view_of_all(base);
    let mut all = json!({});
    for kind in Kind::ALL {
        let resources = provider.directory.collection(kind).iter();
        all[kind.endpoint()] = resources.map(|it| view.show(it, &Projection::Default)).collect();
    }
    all
}

/// Puts resources there that no client wrote: `{"Users": […], "Groups": […]}`, answered with all that there are then.
fn place(provider: &mut Provider, body: &Bytes, base: &str) -> Result<Answer, Refusal> {
    let wrong = |detail: String| Refusal::of(ScimType::InvalidSyntax, detail);
    let document: Value =
        serde_json::from_slice(body).map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    for kind in Kind::ALL {
        for resource in document[kind.endpoint()].as_array().into_iter().flatten() {
            let resource = resource.as_object().ok_or_else(|| wrong("a resource is an object".to_owned()))?;
            provider.place(kind, resource.clone(), clock::now())?;
        }
    }
    Ok(Answer::json(201, resources(provider, base)))
}

fn put_faults(world: &World, body: &Bytes) -> Result<Answer, Refusal> {
    let document = serde_json::from_slice(body)
        .map_err(|error| Refusal::of(ScimType::InvalidSyntax, format!("the body is no JSON: {error}")))?;
    let faults =
        Faults::from_json(document).map_err(|wrong| Refusal::of(ScimType::InvalidValue, wrong.join("; ")))?;
    let shown = json!(faults);
    world.lock().provider.set_faults(faults);
    Ok(Answer::json(200, shown))
}

/// Where an access key gets a token.
pub const ACCESS_KEY_PATH: &str = "/authentication/v1/token/access-key";

/// `POST /oauth/token` (RFC 6749 s4.4), or for an access key.
pub fn token(world: &World, parts: &Parts, body: &Bytes) -> Answer {
    let now = clock::now();
    let mut state = world.lock();
    let number = state.log.begin(Entry {
        at: now,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        status: 0,
        bytes: body.len(),
        operations: 0,
    });
    let answer = issue(&mut state, parts, body, now);
    state.log.finish(number, answer.status);
    answer
}

fn issue(state: &mut State, parts: &Parts, body: &Bytes, now: jiff::Timestamp) -> Answer {
    let State { provider: Provider { faults, dice, .. }, auth, .. } = state;
    if parts.method != "POST" {
        return Refusal::new(405, "a token is fetched with POST").into();
    }
    if dice.hits(faults.rate_token_500) {
        return Answer::json(500, json!({"error": "server_error"}));
    }
    let authorization = parts.headers.get("authorization").and_then(|it| it.to_str().ok());
    let issued = match parts.uri.path() {
        ACCESS_KEY_PATH => auth.issue_for_key(body, now, dice),
        _ => auth.issue(authorization, body, now, dice),
    };
    match issued {
        Ok(token) => Answer::json(200, token).with("cache-control", "no-store"),
        Err(error) if error.status() == 401 => {
            Answer::json(401, error.body()).with("www-authenticate", "Basic realm=\"sandbox\"")
        }
        Err(error) => Answer::json(error.status(), error.body()),
    }
}
