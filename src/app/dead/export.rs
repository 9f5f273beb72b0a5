//! `dead export`: letters as lines that `publish` takes. They hold attribute values, so the file is its owner's alone.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::desk::{Desk, Place, broker_failed};
use super::index::refresh;
use super::lock::Lock;
use super::selection::Selection;
use crate::app::{Failure, failed};
use crate::broker::scan::{Found, Pass};
use crate::cli::{Exit, Export};

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `dead export`.
pub(super) async fn export(desk: &Desk, args: &Export) -> Result<Exit, Failure> {
    let (place, selection) = (Place::of(args.select.parked), desk.selection(&args.select)?);
    Lock::within(desk, &desk.queue(place), "export", async |lock| {
        write(desk, args, place, &selection, lock).await
    })
    .await
}

async fn write(
    desk: &Desk,
    args: &Export,
    place: Place,
    selection: &Selection,
    lock: &Lock,
) -> Result<Exit, Failure> {
    refresh(desk, place, lock).await?;
    let chosen = desk.choose(place, selection).await?;
    let mut output: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(std::io::BufWriter::new(create(path)?)),
        None => Box::new(std::io::stdout().lock()),
    };
    let pass = Pass::begin(&desk.broker, &desk.queue(place)).await.map_err(broker_failed)?;
    let mut pass = pass.expecting(chosen.ids.len());
    let mut exported = 0;
    while exported < chosen.ids.len()
        && let Some(found) = pass.next().await.map_err(broker_failed)?
    {
        if chosen.ids.contains(&found.head.id) {
            let line = line(&found);
            output.write_all(&line).and_then(|()| output.write_all(b"\n")).map_err(failed)?;
            exported += 1;
        }
    }
    output.flush().map_err(failed)?;
    pass.end().await.map_err(broker_failed)?;
    eprintln!("{exported} letters exported; they are still in `{}`", desk.queue(place));
    Ok(if exported < chosen.ids.len() { Exit::Differences } else { chosen.report_missing() })
}

fn create(path: &Path) -> Result<std::fs::File, Failure> {
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|error| (format!("{} can't be created: {error}", path.display()), Exit::Usage))
}

/// A CloudEvent stays as it is; anything else is wrapped.
fn line(found: &Found) -> Vec<u8> {
    let body = &found.message.body;
    let event = serde_json::from_slice::<Value>(body);
    let is_event =
        event.is_ok_and(|event| event.get("specversion") == Some(&json!("1.0")) && publishable(&event));
    if is_event && !body.contains(&b'\n') && !body.contains(&b'\r') {
        return body.clone();
    }
    let message = &found.message;
    let mut properties: Map<String, Value> =
        message.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    if let Some(content_type) = &message.content_type {
        properties.insert("content-type".into(), json!(content_type));
    }
    if let Some(id) = &found.head.message_id {
        properties.insert("message-id".into(), json!(id));
    }
    let routing_key = found.head.routing_key.clone().unwrap_or_default();
    json!({"raw": {"body_base64": base64(body), "properties": properties, "routing_key": routing_key}})
        .to_string()
        .into_bytes()
}

/// True if `publish` takes it as an event.
fn publishable(event: &Value) -> bool {
    ["id", "type", "subject", "source"].iter().all(|name| {
        event.get(*name).and_then(Value::as_str).is_some_and(|text| !text.is_empty() && text.len() <= 255)
    })
}
