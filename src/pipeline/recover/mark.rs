//! Marks: the relay's own messages in the streams. They say where a reading ends, and which generations there were.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::core::generation::{Cause, Generation};
use crate::core::schedule::Millis;
use crate::pipeline::letters::rfc3339;
use crate::pipeline::ports::Message;

/// Its type, and its routing key in the journal.
const TYPE: &str = "directory.relay.mark";

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "lowercase")]
pub(crate) enum Mark {
    /// Whoever wrote it reads up to here.
    End {
        /// Which reading.
        reading: String,
    },
    /// This generation of the store began, or still holds.
    Generation {
        /// Which.
        generation: Generation,
        /// Why it began.
        cause: Cause,
        /// When this was written.
        at: Millis,
    },
}

impl Mark {
    /// The message that carries it, without its way.
    pub(crate) fn message(&self, target: &str, now: Millis, id: String) -> Message {
        let event = json!({
            "specversion": "1.0",
            "id": id,
            "source": format!("/scim-relay/{target}"),
            "type": TYPE,
            "subject": target,
            "time": rfc3339(now),
            "datacontenttype": "application/json",
            "data": self,
        });
        Message {
            routing_key: TYPE.to_owned(),
            body: event.to_string().into_bytes(),
            content_type: Some("application/cloudevents+json".into()),
            message_id: Some(id),
            timestamp: Some(now),
            ..Message::default()
        }
    }

    /// The mark that a message of the relay's own carries.
    pub(crate) fn read(message: &Message) -> Option<Self> {
        // most messages are none: a look is cheaper than a parse
        let named = message.routing_key == TYPE
            || message.body.windows(TYPE.len()).any(|part| part == TYPE.as_bytes());
        if !named {
            return None;
        }
        let event: Value = serde_json::from_slice(&message.body).ok()?;
        (event["type"] == TYPE).then(|| serde_json::from_value(event["data"].clone()).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark::Generation { generation: Generation(5), cause: Cause::Moved, at: Millis(9) };
        let message = mark.message("hr", Millis(9), "id-1".into());
        assert_eq!(Mark::read(&message), Some(mark));
        assert_eq!(Mark::read(&Message { body: b"{}".to_vec(), routing_key: "x".into(), ..message }), None);
    }
}
