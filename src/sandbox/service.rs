//! Answers requests to the SCIM endpoints.

use jiff::Timestamp;
use serde_json::Value;

use super::answer::Answer;
use super::bulk::{self, Report};
use super::endpoint::Endpoint;
use super::error::{Refusal, ScimType};
use super::etag::Condition;
use super::provider::{Provider, Write, Written};
use super::query::{Query, list_response};
use super::schema::{self, Kind};
use super::view::Projection;

/// A request to a SCIM endpoint, read as far as that needs no state.
#[derive(Debug)]
pub struct Call {
    /// The method in capitals.
    pub method: String,
    /// What it addresses.
    pub endpoint: Result<Endpoint, Refusal>,
    /// The query part of the URL.
    pub query: String,
    /// If-Match.
    pub if_match: Option<Condition>,
    /// If-None-Match.
    pub if_none_match: Option<Condition>,
    /// The JSON body; none where there is none.
    pub body: Result<Option<Value>, Refusal>,
    /// The bytes of the body.
    pub bytes: usize,
    /// The address of the provider.
    pub base: String,
}

/// Answers a request.
pub fn answer(call: Call, provider: &mut Provider, now: Timestamp) -> Answer {
    respond(call, provider, now).unwrap_or_else(Answer::from)
}

fn respond(call: Call, provider: &mut Provider, now: Timestamp) -> Result<Answer, Refusal> {
    let endpoint = call.endpoint.clone()?;
    match (endpoint, call.method.as_str()) {
        (Endpoint::Root, "GET") => list(&call, provider, &Kind::ALL),
        (Endpoint::Resources(kind), "GET") => list(&call, provider, &[kind]),
        (Endpoint::Search(kind), "POST") => search(call, provider, kind),
        (Endpoint::Resource(kind, id), "GET") => get(&call, provider, kind, &id),
        (Endpoint::Resources(kind), "POST") => write(call, provider, (kind, None), now),
        (Endpoint::Resource(kind, id), "PUT" | "PATCH" | "DELETE") => {
            write(call, provider, (kind, Some(&id)), now)
        }
        (Endpoint::Bulk, "POST") => run_bulk(call, provider, now),
        (Endpoint::Me, _) => Err(Refusal::new(501, "/Me is not supported")),
        (Endpoint::Config, "GET") => {
            check_no_filter(&call)?;
            Ok(Answer::json(200, provider.config(&call.base)))
        }
        (Endpoint::Schemas(urn), "GET") => documents(&call, schema::schemas(&call.base), urn),
        (Endpoint::ResourceTypes(name), "GET") => {
            documents(&call, schema::resource_types(&call.base, &provider.manners), name)
        }
        (_, method) => Err(Refusal::new(405, format!("{method} is not allowed here"))),
    }
}

fn list(call: &Call, provider: &Provider, kinds: &[Kind]) -> Result<Answer, Refusal> {
    let query = Query::of_url(&call.query)?;
    let found = query.run(provider, &call.base, kinds)?;
    Ok(Answer::json(200, found))
}

fn search(call: Call, provider: &Provider, kind: Option<Kind>) -> Result<Answer, Refusal> {
    let query = Query::of_search(required(call.body?)?)?;
    let kinds = kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
    let found = query.run(provider, &call.base, &kinds)?;
    Ok(Answer::json(200, found))
}

fn get(call: &Call, provider: &Provider, kind: Kind, id: &str) -> Result<Answer, Refusal> {
    let query = Query::of_url(&call.query)?;
    let resource = provider.directory.get(kind, id)?;
    let form = provider.manners.etag_form();
    let tag = provider.faults.etag.then(|| form.of(resource.version));
    let unchanged = call.if_none_match.as_ref().is_some_and(|it| it.holds(resource.version, form));
    if unchanged && tag.is_some() {
        return Ok(Answer::empty(304).with_some("etag", tag));
    }
    let shown = provider.view(&call.base).show(resource, query.projection());
    Ok(Answer::json(200, shown).with_some("etag", tag))
}

fn write(
    call: Call,
    provider: &mut Provider,
    (kind, id): (Kind, Option<&str>),
    now: Timestamp,
) -> Result<Answer, Refusal> {
    let query = Query::of_url(&call.query)?;
    let is_shown = call.method != "PATCH" || provider.manners.patch_shows().unwrap_or(kind != Kind::Group);
    let write = Write::read(&call.method, kind, id, call.body?)?;
    let written = provider.write(write, call.if_match.as_ref(), now)?;
    let shown = show(&written, provider, &call.base, (query.projection(), is_shown));
    provider.let_somebody_else_write(&written, now);
    Ok(shown)
}

/// The resource as it was written. A PATCH may be answered without it, unless attributes were asked for (RFC 7644 s3.5.2); that of a
/// group is, where the provider leaves it open: its members can be many.
fn show(
    written: &Written,
    provider: &Provider,
    base: &str,
    (projection, is_shown): (&Projection, bool),
) -> Answer {
    let view = provider.view(base);
    let resource = provider.directory.get(written.kind, &written.id);
    let body = match resource {
        _ if written.status == 204 => None,
        _ if !is_shown && !projection.is_explicit() => None,
        Ok(resource) => Some(view.show(resource, projection)),
        Err(_) => None,
    };
    let answer = match body {
        Some(body) => Answer::json(written.status, body),
        None => Answer::empty(204),
    };
    if written.status == 204 {
        return answer;
    }
    let location = view.location(written.kind, &written.id);
    answer
        .with("location", location)
        .with_some("etag", written.version.map(|it| provider.manners.etag_form().of(it)))
}

fn run_bulk(call: Call, provider: &mut Provider, now: Timestamp) -> Result<Answer, Refusal> {
    bulk::admit(call.bytes, &provider.faults)?;
    let key = provider.manners.bulk_key();
    let request = bulk::read(call.body?.unwrap_or_default(), &provider.faults, key)?;
    let reports = bulk::run(request, provider, now)?;
    Ok(Answer::json(200, Report::response(&reports, &call.base, provider)))
}

/// All documents, or the one with this id.
fn documents(call: &Call, documents: Vec<Value>, id: Option<String>) -> Result<Answer, Refusal> {
    check_no_filter(call)?;
    match id {
        None => Ok(Answer::json(200, list_response(documents.len(), 1, documents))),
        Some(id) => {
            let mut found = documents.into_iter().filter(|it| it["id"] == id.as_str());
            found.next().map(|it| Answer::json(200, it)).ok_or_else(|| Refusal::not_found(&id))
        }
    }
}

/// A filter is forbidden at the discovery endpoints (RFC 7644 s4).
fn check_no_filter(call: &Call) -> Result<(), Refusal> {
    let mut parameters = url::form_urlencoded::parse(call.query.as_bytes());
    match parameters.any(|(name, _)| name.eq_ignore_ascii_case("filter")) {
        true => Err(Refusal::new(403, "discovery documents can not be filtered")),
        false => Ok(()),
    }
}

fn required(body: Option<Value>) -> Result<Value, Refusal> {
    body.ok_or_else(|| Refusal::of(ScimType::InvalidSyntax, "a body is required"))
}
