//! The AMQP objects of one target (contract s3), described purely.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::pipeline::settings::Routes;

/// `x-delivery-limit` of queues from which nothing is consumed by the relay in a loop: -1 would mean "dead-letter at once"
/// on 3.10.
const NO_LIMIT: i64 = 1_000_000;
/// Segments of the journal: small, since `max-age` acts only when one is full.
const SEGMENT_BYTES: i64 = 20_000_000;

/// What the topology is made from.
#[derive(Clone, Debug)]
pub struct TopologyOptions {
    /// The target's name.
    pub target: String,
    /// The publishers' exchange.
    pub exchange: String,
    /// Keys bound from it.
    pub bindings: Vec<String>,
    /// Keys of events that deprovision.
    pub urgent_bindings: Vec<String>,
    /// `x-delivery-limit` of `work` and `urgent`.
    pub delivery_limit: u32,
    /// The retry schedule.
    pub delays: Vec<Duration>,
    /// Whether there are streams at all.
    pub journal: bool,
    /// How long the journal keeps messages.
    pub journal_max_age: Duration,
    /// How much the journal keeps, in bytes.
    pub journal_max_bytes: u64,
    /// How long discarded letters are kept.
    pub parked_ttl: Duration,
    /// How long held letters wait for an operator.
    pub held_expires_after: Duration,
}

/// A queue's or exchange's argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// One object to declare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "object", rename_all = "lowercase")]
pub enum Object {
    /// An exchange.
    Exchange {
        /// Its name.
        name: String,
        /// `topic`, `direct` or `fanout`.
        kind: &'static str,
        /// Its arguments.
        #[serde(serialize_with = "by_name")]
        arguments: Vec<(&'static str, Argument)>,
        /// Used as it is if it exists.
        foreign: bool,
    },
    /// A queue or stream.
    Queue {
        /// Its name.
        name: String,
        /// Its arguments.
        #[serde(serialize_with = "by_name")]
        arguments: Vec<(&'static str, Argument)>,
    },
    /// A queue's binding.
    Binding {
        /// From this exchange,
        source: String,
        /// to this queue,
        queue: String,
        /// with this key.
        key: String,
    },
    /// An exchange's binding to another exchange.
    Route {
        /// From this exchange,
        source: String,
        /// to this one,
        destination: String,
        /// with this key.
        key: String,
    },
}

/// Arguments are written as an object.
fn by_name<S: Serializer>(arguments: &[(&'static str, Argument)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(arguments.iter().map(|(name, value)| (name, value)))
}

fn text(value: impl Into<String>) -> Argument {
    Argument::Text(value.into())
}

/// The names of one target's objects.
#[derive(Clone, Debug)]
pub struct Names(String);

impl Names {
    /// Of this target.
    pub fn new(target: &str) -> Self {
        Self(format!("scim-relay.{target}"))
    }

    /// A name below `scim-relay.T.`.
    pub fn of(&self, last: &str) -> String {
        format!("{}.{last}", self.0)
    }

    /// The rung that holds messages for so long; fractions of a second are written in milliseconds.
    pub fn rung(&self, delay: Duration) -> String {
        match delay.subsec_millis() {
            0 => self.of(&format!("retry.{}s", delay.as_secs())),
            _ => self.of(&format!("retry.{}ms", delay.as_millis())),
        }
    }

    /// What the pipeline publishes to.
    pub fn routes(&self, delays: &[Duration]) -> Routes {
        Routes {
            intake: self.of("intake"),
            out: self.of("out"),
            dead: self.of("dead"),
            held: self.of("held"),
            outcomes: Some(self.of("outcomes")),
            rungs: delays.iter().map(|delay| self.rung(*delay)).collect(),
        }
    }
}

/// Milliseconds as an argument.
fn millis(duration: Duration) -> Argument {
    Argument::Number(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn quorum(name: String, limit: i64, more: Vec<(&'static str, Argument)>) -> Object {
    let mut arguments = vec![("x-queue-type", text("quorum")), ("x-delivery-limit", Argument::Number(limit))];
    arguments.extend(more);
    Object::Queue { name, arguments }
}

/// At-least-once dead-lettering to an exchange; without a key the message's own is used.
fn dead_letters(exchange: &str, key: Option<&str>) -> Vec<(&'static str, Argument)> {
    let mut arguments = vec![
        ("x-dead-letter-exchange", text(exchange)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    arguments.extend(key.map(|key| ("x-dead-letter-routing-key", text(key))));
    arguments
}

impl TopologyOptions {
    /// All objects, in the order in which they are declared: the journal is bound before `work`, so that it never misses
    /// what was merged.
    pub fn objects(&self) -> Vec<Object> {
        let names = Names::new(&self.target);
        let (intake, out, dead) = (names.of("intake"), names.of("out"), names.of("dead"));
        let mut objects = self.exchanges(&names);
        if self.journal {
            let (journal, outcomes) = (names.of("journal"), names.of("outcomes"));
            objects.push(self.stream(journal.clone()));
            objects.push(bind(&intake, &journal, "#"));
            objects.push(self.stream(outcomes.clone()));
            objects.push(bind(&out, &outcomes, &outcomes));
        }
        objects.push(quorum(dead.clone(), NO_LIMIT, vec![]));
        objects.push(bind(&out, &dead, &dead));
        let parked = names.of("parked");
        objects.push(quorum(parked.clone(), NO_LIMIT, vec![("x-message-ttl", millis(self.parked_ttl))]));
        objects.push(bind(&out, &parked, &parked));
        objects.extend(self.held(&names));
        for delay in &self.delays {
            let rung = names.rung(*delay);
            let mut arguments = dead_letters(&intake, None);
            arguments.push(("x-message-ttl", millis(*delay)));
            objects.push(quorum(rung.clone(), NO_LIMIT, arguments));
            objects.push(bind(&out, &rung, &rung));
        }
        let limit = i64::from(self.delivery_limit);
        for (queue, keys) in [("urgent", self.urgent_keys()), ("work", vec!["#".to_owned()])] {
            let queue = names.of(queue);
            objects.push(quorum(queue.clone(), limit, dead_letters(&out, Some(&dead))));
            objects.extend(keys.iter().map(|key| bind(&intake, &queue, key)));
        }
        objects.extend(self.routes().into_iter().map(|key| Object::Route {
            source: self.exchange.clone(),
            destination: intake.clone(),
            key,
        }));
        objects
    }

    /// What no operator decided about in time becomes a dead letter.
    fn held(&self, names: &Names) -> [Object; 2] {
        let (out, held) = (names.of("out"), names.of("held"));
        let mut arguments = dead_letters(&out, Some(&names.of("dead")));
        arguments.push(("x-message-ttl", millis(self.held_expires_after)));
        [quorum(held.clone(), NO_LIMIT, arguments), bind(&out, &held, &held)]
    }

    fn urgent_keys(&self) -> Vec<String> {
        let own = "directory.*.intent.urgent".to_owned();
        self.urgent_bindings.iter().cloned().chain([own]).collect()
    }

    /// The keys bound from the publishers' exchange, each once.
    pub fn routes(&self) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> =
            self.bindings.iter().chain(&self.urgent_bindings).collect();
        keys.into_iter().cloned().collect()
    }

    fn exchanges(&self, names: &Names) -> Vec<Object> {
        let unrouted = names.of("unrouted");
        let exchange =
            |name: String, kind, arguments, foreign| Object::Exchange { name, kind, arguments, foreign };
        let alternate = || vec![("alternate-exchange", text(unrouted.clone()))];
        vec![
            exchange(self.exchange.clone(), "topic", vec![], true),
            exchange(unrouted.clone(), "fanout", vec![], false),
            quorum(unrouted.clone(), NO_LIMIT, vec![]),
            bind(&unrouted, &unrouted, ""),
            exchange(names.of("out"), "direct", alternate(), false),
            exchange(names.of("intake"), "topic", alternate(), false),
        ]
    }

    /// 3.10 compares `x-max-age` as a text when a stream is declared again: always the same spelling.
    fn stream(&self, name: String) -> Object {
        let max_bytes = i64::try_from(self.journal_max_bytes).unwrap_or(i64::MAX);
        let arguments = vec![
            ("x-queue-type", text("stream")),
            ("x-max-age", text(format!("{}s", self.journal_max_age.as_secs()))),
            ("x-max-length-bytes", Argument::Number(max_bytes)),
            ("x-stream-max-segment-size-bytes", Argument::Number(SEGMENT_BYTES.min(max_bytes))),
        ];
        Object::Queue { name, arguments }
    }
}

fn bind(source: &str, queue: &str, key: &str) -> Object {
    Object::Binding { source: source.to_owned(), queue: queue.to_owned(), key: key.to_owned() }
}

impl Object {
    /// One line for people.
    pub fn describe(&self) -> String {
        let list = |arguments: &[(&str, Argument)]| {
            let one = |(name, value): &(&str, Argument)| match value {
                Argument::Text(value) => format!(" {name}={value}"),
                Argument::Number(value) => format!(" {name}={value}"),
            };
            arguments.iter().map(one).collect::<String>()
        };
        match self {
            Object::Exchange { name, kind, arguments, .. } => {
                format!("exchange {name} ({kind}){}", list(arguments))
            }
            Object::Queue { name, arguments } => format!("queue    {name}{}", list(arguments)),
            Object::Binding { source, queue, key } => format!("binding  {source} -> {queue} [{key}]"),
            Object::Route { source, destination, key } => {
                format!("binding  {source} -> {destination} [{key}]")
            }
        }
    }

    /// The command that removes an object of this virtual host which differs, so that the next start declares it anew.
    pub(super) fn remedy(&self, vhost: &str) -> String {
        let place = if vhost == "/" { String::new() } else { format!("-p '{vhost}' ") };
        match self {
            Object::Exchange { name, .. } => {
                format!(
                    "rabbitmqctl eval 'rabbit_exchange:delete(rabbit_misc:r(<<\"{vhost}\">>, exchange, <<\"{name}\">>), false, <<\"operator\">>).'"
                )
            }
            Object::Queue { name, .. } => format!("rabbitmqctl {place}delete_queue {name} --if-empty"),
            Object::Binding { .. } | Object::Route { .. } => format!("rabbitmqctl {place}list_bindings"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> TopologyOptions {
        TopologyOptions {
            target: "t".into(),
            exchange: "directory.events".into(),
            bindings: vec!["directory.user.*".into()],
            urgent_bindings: vec!["directory.user.delete".into()],
            delivery_limit: 50,
            delays: vec![Duration::from_secs(1), Duration::from_millis(1500)],
            journal: true,
            journal_max_age: Duration::from_secs(7 * 86_400),
            journal_max_bytes: 1 << 30,
            parked_ttl: Duration::from_secs(30 * 86_400),
            held_expires_after: Duration::from_secs(30 * 86_400),
        }
    }

    #[test]
    fn the_journal_is_bound_before_work() {
        let objects = options().objects();
        let at = |queue: &str| {
            let bound =
                |o: &Object| matches!(o, Object::Binding { queue: q, key, .. } if q == queue && key == "#");
            objects.iter().position(bound).unwrap()
        };
        assert!(at("scim-relay.t.journal") < at("scim-relay.t.work"));
    }

    #[test]
    fn without_a_journal_there_are_no_streams() {
        let objects = TopologyOptions { journal: false, ..options() }.objects();
        let text: String = objects.iter().map(Object::describe).collect();
        assert!(
            !text.contains("stream") && !text.contains("journal") && !text.contains("outcomes"),
            "{text}"
        );
    }

    #[test]
    fn every_quorum_queue_has_a_positive_delivery_limit() {
        for object in options().objects() {
            if let Object::Queue { name, arguments } = object {
                let limit = arguments.iter().find(|(name, _)| *name == "x-delivery-limit");
                let stream = arguments.contains(&("x-queue-type", text("stream")));
                assert!(stream || matches!(limit, Some((_, Argument::Number(1..)))), "{name}");
            }
        }
    }

    #[test]
    fn rungs_are_named_after_their_seconds() {
        let rungs = Names::new("t").routes(&options().delays).rungs;
        assert_eq!(rungs, ["scim-relay.t.retry.1s", "scim-relay.t.retry.1500ms"]);
    }

    #[test]
    fn the_command_that_mends_an_object_names_its_virtual_host() {
        let queue = quorum("scim-relay.t.dead".into(), 1, vec![]);
        assert_eq!(queue.remedy("/"), "rabbitmqctl delete_queue scim-relay.t.dead --if-empty");
        assert_eq!(queue.remedy("hr"), "rabbitmqctl -p 'hr' delete_queue scim-relay.t.dead --if-empty");
    }

    #[test]
    fn what_no_operator_decided_about_ends_in_the_dead_letters() {
        let objects = options().objects();
        let held = objects
            .iter()
            .find(|object| matches!(object, Object::Queue { name, .. } if name.ends_with(".held")));
        let Some(Object::Queue { arguments, .. }) = held else { panic!("there is none") };
        assert!(arguments.contains(&("x-dead-letter-routing-key", text("scim-relay.t.dead"))));
        assert!(arguments.contains(&("x-dead-letter-strategy", text("at-least-once"))));
        assert!(arguments.contains(&("x-message-ttl", Argument::Number(30 * 86_400_000))));
    }
}
