//! `publish`: NDJSON to the exchange. A line that is wrong or routed nowhere fails, the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use super::publisher::AmqpPublisher;
use crate::core::resource::ResourceType;
use crate::decode::intent;
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
    /// Largest event, in bytes.
    pub max_line: usize,
}

impl Feed {
    /// Publishes all lines; `refuse` says why messages for the relay's own exchange should not be sent, `progress` is told
    /// how many are done. An error is one of reading.
    pub async fn run(
        &self,
        publisher: &AmqpPublisher,
        mut lines: impl AsyncBufRead + Unpin,
        refuse: impl AsyncFn(&Message) -> Option<String>,
        mut progress: impl FnMut(u64),
    ) -> std::io::Result<Published> {
        let mut published = Published::default();
        let (mut number, mut line) = (0, Vec::new());
        let mut window: Vec<(u64, Message)> = Vec::new();
        loop {
            let read = self.read_line(&mut lines, &mut line).await?;
            if read > 0 {
                number += 1;
                match self.message(&line) {
                    Ok(Some(message)) if message.exchange == self.intake => match refuse(&message).await {
                        None => window.push((number, message)),
                        Some(why) => published.failed.push((number, why)),
                    },
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

    /// Reads a line without its end, and says how many bytes that took; none: there is no more. Of a line that is too
    /// long, only enough is kept to see that.
    async fn read_line(
        &self,
        lines: &mut (impl AsyncBufRead + Unpin),
        line: &mut Vec<u8>,
    ) -> std::io::Result<usize> {
        line.clear();
        let mut read = 0;
        loop {
            let part = lines.fill_buf().await?;
            let end = part.iter().position(|byte| *byte == b'\n');
            let text = &part[..end.unwrap_or(part.len())];
            let room = (self.longest() + 2).saturating_sub(line.len());
            line.extend_from_slice(&text[..text.len().min(room)]);
            let used = text.len() + usize::from(end.is_some());
            lines.consume(used);
            read += used;
            if end.is_some() || used == 0 {
                line.pop_if(|last| *last == b'\r');
                return Ok(read);
            }
        }
    }

    /// Longest line of all: letters may be larger than the event that they carry, and base64 adds a third.
    fn longest(&self) -> usize {
        2 * self.max_line + intent::MAX_BYTES
    }

    fn too_long(&self) -> String {
        format!("more than {} bytes (amqp.max_event_bytes)", self.max_line)
    }

    /// The message of a line; none for an empty one.
    fn message(&self, line: &[u8]) -> Result<Option<Message>, String> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        if line.len() > self.longest() {
            return Err(self.too_long());
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
        let (exchange, routing_key) = self.way(kind, &event);
        if exchange == self.exchange && line.len() > self.max_line {
            return Err(self.too_long());
        }
        Ok(Some(Message {
            exchange,
            routing_key,
            body: line.to_vec(),
            content_type: Some("application/cloudevents+json".into()),
            message_id: Some(id),
            ..Message::default()
        }))
    }

    /// The exchange and the routing key: the relay's own events enter at `intake`, and those that deprovision overtake.
    fn way(&self, kind: String, event: &Value) -> (String, String) {
        let own = ResourceType::ALL.into_iter().find_map(|resource| {
            kind.strip_prefix("directory.")?.strip_prefix(resource.word())?.strip_prefix('.')
        });
        match own {
            Some("intent") => (self.intake.clone(), intent::routing_key(&kind, &event["data"])),
            Some("verdict") => (self.intake.clone(), kind),
            Some(_) | None => (self.exchange.clone(), kind),
        }
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

/// Publishes a window. What is for an exchange that does not exist fails at once: a publish to one closes the channel.
async fn send(publisher: &AmqpPublisher, window: &mut Vec<(u64, Message)>, published: &mut Published) {
    let exchanges: BTreeSet<String> = window.iter().map(|(_, message)| message.exchange.clone()).collect();
    let mut missing = BTreeSet::new();
    for exchange in exchanges {
        if let Ok(false) = publisher.has_exchange(&exchange).await {
            missing.insert(exchange);
        }
    }
    let (lost, window): (Vec<_>, Vec<_>) =
        std::mem::take(window).into_iter().partition(|(_, message)| missing.contains(&message.exchange));
    published.failed.extend(lost.into_iter().map(|(number, message)| {
        let way = "does not exist: run `scim-relay topology apply` first";
        (number, format!("the exchange `{}` {way}", message.exchange))
    }));
    let (numbers, messages): (Vec<u64>, Vec<Message>) = window.into_iter().unzip();
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
    fn an_intent_that_deprovisions_is_urgent() {
        let line = |data: &str| {
            format!(
                r#"{{"specversion":"1.0","id":"1","source":"s","type":"directory.user.intent","subject":"e","data":{data}}}"#
            )
        };
        let key = |data: &str| feed().message(line(data).as_bytes()).unwrap().unwrap().routing_key;
        let revision = format!(r#"{{"id":"1","hash":"{}"}}"#, "00".repeat(32));
        let deleted = format!(r#"{{"origin":"replay","lifecycle":{{"deleted":{revision}}}}}"#);
        assert_eq!(key(&deleted), "directory.user.intent.urgent");
        assert_eq!(key(r#"{"origin":"replay"}"#), "directory.user.intent");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_kept_in_memory() {
        let text = [vec![b'x'; 3_000_000], b"\r\nshort\r\nlast".to_vec()].concat();
        let (mut lines, mut line) = (std::io::Cursor::new(text), Vec::new());
        let mut read = Vec::new();
        while feed().read_line(&mut lines, &mut line).await.unwrap() > 0 {
            read.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(
            (read[0].len(), &read[1..]),
            (feed().longest() + 2, &["short".to_owned(), "last".to_owned()][..])
        );
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
        let long = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"{}"}}"#,
            "x".repeat(1_000)
        );
        assert!(feed().message(long.as_bytes()).unwrap_err().contains("max_event_bytes"));
    }
}
