//! Heads of letters: what their headers say, as indexes keep it and listings print it (contract s3.1, s4). No attribute value is
//! in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ports::{Header, Message};

/// The headers of a letter without `x-relay-`, and its ID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The message ID, or what tools made up for a letter that the broker put there.
    pub id: String,
    /// Whose, as far as it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What the newest of it is ordered by, and the event's ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The first events that it carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_ids: Option<Vec<String>>,
    /// Failures of the resource so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failed_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failed_at: Option<String>,
    /// The class.
    pub class: String,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// `scimType` of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scim_type: Option<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The method and the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Groups equal failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How often it was replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replays: Option<u32>,
    /// Of the original, as the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// The routing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// A property of the original that would act on the letter, as the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// See `user_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a Header> {
    message.headers.get(&format!("x-relay-{name}"))
}

fn text(message: &Message, name: &str) -> Option<String> {
    match header(message, name)? {
        Header::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn number<N: TryFrom<i64>>(message: &Message, name: &str) -> Option<N> {
    match header(message, name)? {
        Header::Int(number) => N::try_from(*number).ok(),
        _ => None,
    }
}

impl Head {
    /// What a letter's headers say; what they do not say stays empty, the ID and the class too.
    pub fn of(message: &Message) -> Self {
        let text = |name: &str| text(message, name);
        let events = match header(message, "event-ids") {
            Some(Header::List(ids)) => Some(ids.clone()),
            _ => None,
        };
        Self {
            id: message.message_id.clone().unwrap_or_default(),
            resource: text("resource"),
            revision: text("revision"),
            event_ids: events,
            attempt: number(message, "attempt"),
            first_failed_at: text("first-failed-at"),
            last_failed_at: text("last-failed-at"),
            class: text("class").unwrap_or_default(),
            http_status: number(message, "http-status"),
            scim_type: text("scim-type"),
            detail: text("detail"),
            operation: text("operation"),
            fingerprint: text("fingerprint"),
            replays: number(message, "replays"),
            message_id: text("message-id"),
            exchange: text("exchange"),
            routing_key: text("routing-key"),
            user_id: text("user-id"),
            expiration: text("expiration"),
        }
    }

    /// The headers of a letter with this head.
    pub fn headers(&self) -> BTreeMap<String, Header> {
        let mut headers = BTreeMap::new();
        let mut add = |name: &str, value: Option<Header>| {
            headers.extend(value.map(|value| (format!("x-relay-{name}"), value)));
        };
        let text = |value: &Option<String>| value.clone().map(Header::Text);
        add("resource", text(&self.resource));
        add("revision", text(&self.revision));
        add("event-ids", self.event_ids.clone().map(Header::List));
        add("attempt", self.attempt.map(|number| Header::Int(number.into())));
        add("first-failed-at", text(&self.first_failed_at));
        add("last-failed-at", text(&self.last_failed_at));
        add("class", Some(Header::Text(self.class.clone())));
        add("http-status", self.http_status.map(|number| Header::Int(number.into())));
        add("scim-type", text(&self.scim_type));
        add("detail", text(&self.detail));
        add("operation", text(&self.operation));
        add("fingerprint", text(&self.fingerprint));
        add("replays", self.replays.map(|number| Header::Int(number.into())));
        add("message-id", text(&self.message_id));
        add("exchange", text(&self.exchange));
        add("routing-key", text(&self.routing_key));
        add("user-id", text(&self.user_id));
        add("expiration", text(&self.expiration));
        headers
    }

    /// How often it was replayed.
    pub fn round(&self) -> u32 {
        self.replays.unwrap_or(0)
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        // texts and numbers always have a JSON form
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From one line of JSON; what is not understood reads as a letter of that ID that says nothing.
    pub fn from_json(id: &str, text: &str) -> Self {
        let head: Self = serde_json::from_str(text).unwrap_or_default();
        Self { id: id.to_owned(), ..head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_headers_without_their_prefix() {
        let headers = [
            ("x-relay-class", Header::Text("invalid".into())),
            ("x-relay-http-status", Header::Int(400)),
            ("x-relay-event-ids", Header::List(vec!["e-1".into()])),
            ("x-other", Header::Text("y".into())),
        ];
        let message = Message {
            message_id: Some("01".into()),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Message::default()
        };
        let head = Head::of(&message);
        assert_eq!(head.to_json(), r#"{"id":"01","event_ids":["e-1"],"class":"invalid","http_status":400}"#);
        assert_eq!(Head::from_json("01", &head.to_json()), head);
        let again = Message { headers: head.headers(), ..message };
        assert_eq!(Head::of(&again), head);
    }
}
