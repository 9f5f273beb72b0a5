//! `publish`: NDJSON to the exchange. A line that is wrong or routed nowhere fails, the rest goes on.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::publisher::AmqpPublisher;
use crate::pipeline::ports::{Header, Message};

/// Lines published at once before their confirms are awaited.
const WINDOW: usize = 500;

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Confirmed and routed.
    pub confirmed: u64,
    /// Line number and reason.
    pub failed: Vec<(u64, String)>,
}

/// Where lines go.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The publishers' exchange.
    pub exchange: String,
    /// The relay's own exchange: intents and letters go there.
    pub intake: String,
    /// Largest line, in bytes.
    pub max_line: usize,
}

impl Feed {
    /// Publishes all lines; `progress` is told how many are done. An error is one of reading.
    pub async fn run(
        &self,
        publisher: &AmqpPublisher,
        mut lines: impl AsyncBufRead + Unpin,
        mut progress: impl FnMut(u64),
    ) -> std::io::Result<Published> {
        let mut published = Published::default();
        let (mut number, mut line) = (0, Vec::new());
        let mut window: Vec<(u64, Message)> = Vec::new();
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).await?;
            if read > 0 {
                number += 1;
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                match self.message(text) {
                    Ok(Some(message)) => window.push((number, message)),
                    Ok(None) => {}
                    Err(why) => published.failed.push((number, why)),
                }
            }
            if window.len() >= WINDOW || (read == 0 && !window.is_empty()) {
                send(publisher, &mut window, &mut published).await;
                progress(published.confirmed);
            }
            if read == 0 {
                published.failed.sort();
                return Ok(published);
            }
        }
    }

    /// The message of a line; none for an empty one.
    fn message(&self, line: &[u8]) -> Result<Option<Message>, String> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        if line.len() > self.max_line {
            return Err(format!(
                "{} bytes, at most {} are accepted (amqp.max_event_bytes)",
                line.len(),
                self.max_line
            ));
        }
        let event: Value = serde_json::from_slice(line).map_err(|error| format!("not JSON: {error}"))?;
        if let Some(raw) = event.get("raw") {
            return self.raw(raw).map(Some);
        }
        let text = |name: &str| match event.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(_) => Err(format!("`{name}` is not a text")),
            None => Err(format!("`{name}` is missing: a line is one CloudEvent")),
        };
        if text("specversion")? != "1.0" {
            return Err("`specversion` is not \"1.0\"".into());
        }
        let (kind, id) = (text("type")?, text("id")?);
        text("subject")?;
        text("source")?;
        if kind.len() > 255 || id.len() > 255 {
            return Err("`type` and `id` have at most 255 bytes".into());
        }
        let own = kind.ends_with(".intent") || kind.ends_with(".verdict");
        Ok(Some(Message {
            exchange: if own { self.intake.clone() } else { self.exchange.clone() },
            routing_key: kind,
            body: line.to_vec(),
            content_type: Some("application/cloudevents+json".into()),
            message_id: Some(id),
            ..Message::default()
        }))
    }

    /// A letter that is not JSON, as it was exported: byte for byte.
    fn raw(&self, raw: &Value) -> Result<Message, String> {
        let text = |name: &str| raw.get(name).and_then(Value::as_str);
        let body = text("body_base64").ok_or("`raw.body_base64` is missing")?;
        let body = STANDARD.decode(body).map_err(|_| "`raw.body_base64` is not base64")?;
        let properties = raw.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten();
        let mut kept: BTreeMap<String, String> =
            properties.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        Ok(Message {
            exchange: self.intake.clone(),
            routing_key: text("routing_key").ok_or("`raw.routing_key` is missing")?.to_owned(),
            body,
            content_type: kept.remove("content-type"),
            message_id: kept.remove("message-id").or_else(|| Some(String::new())),
            properties: kept,
            headers: BTreeMap::<String, Header>::new(),
            timestamp: None,
        })
    }
}

async fn send(publisher: &AmqpPublisher, window: &mut Vec<(u64, Message)>, published: &mut Published) {
    let (numbers, messages): (Vec<u64>, Vec<Message>) = std::mem::take(window).into_iter().unzip();
    for (number, answer) in numbers.into_iter().zip(publisher.publish_routed(&messages).await) {
        match answer {
            Ok(()) => published.confirmed += 1,
            Err(error) => published.failed.push((number, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed { exchange: "events".into(), intake: "intake".into(), max_line: 1_000 }
    }

    #[test]
    fn an_event_is_keyed_by_its_type() {
        let line =
            br#"{"specversion":"1.0","id":"1","source":"s","type":"directory.user.put","subject":"e"}"#;
        let message = feed().message(line).unwrap().unwrap();
        assert_eq!(
            (message.exchange.as_str(), message.routing_key.as_str()),
            ("events", "directory.user.put")
        );
        assert_eq!(message.message_id.as_deref(), Some("1"));
    }

    #[test]
    fn intents_and_raw_letters_go_to_intake() {
        let line =
            br#"{"specversion":"1.0","id":"1","source":"s","type":"directory.user.intent","subject":"e"}"#;
        assert_eq!(feed().message(line).unwrap().unwrap().exchange, "intake");
        let raw = br#"{"raw":{"body_base64":"AP8=","properties":{"content-type":"x"},"routing_key":"k"}}"#;
        let message = feed().message(raw).unwrap().unwrap();
        assert_eq!((message.exchange.as_str(), message.body.as_slice()), ("intake", &[0u8, 255][..]));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (line, why) in [
            ("{", "not JSON"),
            ("{\"id\":\"1\"}", "`specversion` is missing"),
            ("{\"specversion\":\"1.0\",\"id\":\"1\"}", "`type` is missing"),
        ] {
            let error = feed().message(line.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(feed().message(&[b'x'; 2_000]).unwrap_err().contains("max_event_bytes"));
    }
}
