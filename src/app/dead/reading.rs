//! What a letter says: the message that a replay publishes, and the change in it.

use crate::app::Failure;
use crate::broker::scan::Found;
use crate::core::change::Change;
use crate::core::schedule::Millis;
use crate::decode::{Decoded, Input, Limits, Refusal, decode, intent};
use crate::pipeline::ports::{Header, Message};
use crate::pipeline::settings::Settings;

/// What would come of a letter's message.
#[derive(Debug)]
pub(super) enum Said {
    /// A change of one resource.
    Change(Box<Change>),
    /// Nothing that is for the relay.
    Ignored,
    /// No decoder accepts it, as before.
    Refused(Refusal),
    /// It can't be sent again.
    Unsendable(String),
}

impl Said {
    pub(super) fn change(&self) -> Option<&Change> {
        match self {
            Said::Change(change) => Some(change),
            Said::Ignored | Said::Refused(_) | Said::Unsendable(_) => None,
        }
    }
}

/// A letter, read.
#[derive(Debug)]
pub(super) struct Reading {
    /// What a replay publishes.
    pub(super) message: Message,
    /// What that says.
    pub(super) said: Said,
    /// How often it will have been replayed.
    pub(super) round: u32,
}

/// Reads a letter: an intent as an operator's replay, anything else byte for byte under its original key.
pub(super) fn read(found: &Found, settings: &Settings, now: Millis) -> Reading {
    let (head, letter) = (&found.head, &found.message);
    let round = head.round().saturating_add(1);
    let own = intent::replayed(&letter.body);
    let mut headers = letter.headers.clone();
    headers.retain(|name, _| !name.starts_with("x-relay-"));
    headers.insert("x-relay-replays".into(), Header::Int(round.into()));
    let is_intent = own.is_some();
    let (routing_key, body) =
        own.unwrap_or_else(|| (head.routing_key.clone().unwrap_or_default(), letter.body.clone()));
    let original = head.message_id.clone().filter(|_| !is_intent);
    let message = Message {
        exchange: settings.routes.intake.clone(),
        routing_key,
        body,
        message_id: original.or_else(|| Some(head.id.clone())),
        headers,
        ..letter.clone()
    };
    let published = head.exchange.as_deref().is_some_and(|exchange| exchange != settings.routes.intake);
    let forged = published && (is_intent || intent::is_the_relays_own(&letter.body));
    let said = match (forged, message.routing_key.is_empty()) {
        (true, _) => {
            Said::Unsendable("a publisher used the relay's own type: it must not enter `intake`".into())
        }
        (false, true) => Said::Unsendable("the key under which it was published is not known".into()),
        (false, false) => said(&message, settings, round, now),
    };
    Reading { message, said, round }
}

fn said(message: &Message, settings: &Settings, round: u32, now: Millis) -> Said {
    let input = Input {
        body: &message.body,
        content_type: message.content_type.as_deref(),
        timestamp: message.timestamp,
        from_publishers: false,
        attempt: 0,
        round: Some(round),
    };
    let limits =
        Limits { max_event_bytes: settings.max_event_bytes, max_clock_skew: settings.max_clock_skew };
    match decode(&input, &limits, now) {
        Decoded::Change(change) => Said::Change(change),
        Decoded::Verdict(_) | Decoded::Ignored => Said::Ignored,
        Decoded::Refused(refusal) => Said::Refused(refusal),
    }
}

/// Names the resource of a letter that the broker put there.
pub(super) fn name_resource(found: &mut Found, settings: &Settings, now: Millis) {
    if found.head.resource.is_none() && found.head.id.starts_with("b-") {
        found.head.resource = match read(found, settings, now).said {
            Said::Change(change) => Some(change.key.to_string()),
            Said::Refused(refusal) => refusal.resource.map(|key| key.to_string()),
            Said::Ignored | Said::Unsendable(_) => None,
        };
    }
}

/// An error of publishing, as a command's end.
pub(super) fn unpublished(error: crate::pipeline::ports::PublishError) -> Failure {
    crate::app::failed(format!("{error}; the letter is still there, nothing is lost"))
}
