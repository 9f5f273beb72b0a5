//! Everything that can be wrong with the sandbox on request. Every key is a flag of the command line too.

use std::fmt;
use std::str::FromStr;

use clap::{ArgAction, Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::directory::Policy;

/// The share of cases that a fault hits, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(extend("minimum" = 0, "maximum" = 1))]
pub struct Rate(f64);

impl Rate {
    /// Always.
    pub const ALWAYS: Rate = Rate(1.0);

    /// From 0 to 1.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&rate) { Ok(Rate(rate)) } else { Err(format!("{rate} is not from 0 to 1")) }
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> f64 {
        rate.0
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<f64>().map_err(|error| error.to_string())?.try_into()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How Retry-After is written (RFC 9110 s10.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfterForm {
    /// A number of seconds.
    #[default]
    Seconds,
    /// A date.
    HttpDate,
    /// Only in a sentence of the body.
    Body,
    /// Not at all.
    None,
}

/// Which requests the faults of whole requests hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything below /scim/v2, discovery included.
    #[default]
    All,
    /// GET and .search.
    Reads,
    /// POST, PUT, PATCH, DELETE and Bulk.
    Writes,
    /// Bulk only.
    Bulk,
    /// Writes but Bulk.
    Single,
}

const MAX_OPERATIONS: usize = 1000;
const MAX_PAYLOAD_BYTES: usize = 1 << 20;
const PAGE_SIZE: usize = 1000;
const RETRY_AFTER: u64 = 1;
const POISON_STATUS: u16 = 500;

/// What is to go wrong, and what the provider can do and allows. The defaults are a provider without faults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Args)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "Faults of the scim-relay sandbox")]
pub struct Faults {
    /// Which requests the faults of whole requests hit.
    #[arg(long, value_enum, default_value_t, help_heading = "Faults of whole requests")]
    pub scope: Scope,
    /// Share of requests answered with 401.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_401: Rate,
    /// Share of requests answered with 429.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_429: Rate,
    /// Share of requests answered with 500, nothing applied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_500: Rate,
    /// Share of requests answered with 503.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_503: Rate,
    /// Seconds that 429 and 503 ask to wait.
    #[arg(long, default_value_t = RETRY_AFTER, value_name = "SECONDS", help_heading = "Faults of whole requests")]
    pub retry_after: u64,
    /// How Retry-After is written.
    #[arg(long, value_enum, default_value_t, help_heading = "Faults of whole requests")]
    pub retry_after_form: RetryAfterForm,
    /// Share of requests that are not answered and not applied (but see late_apply_ms).
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_timeout_before: Rate,
    /// Share of requests that are applied and not answered.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_timeout_after: Rate,
    /// Milliseconds after which an unanswered request's connection is closed; 0: when the client gives up.
    #[arg(long, default_value_t, value_name = "MS", help_heading = "Faults of whole requests")]
    pub hang_ms: u64,
    /// Milliseconds after which a request hit by rate_timeout_before is applied all the same; 0: never.
    #[arg(long, default_value_t, value_name = "MS", help_heading = "Faults of whole requests")]
    pub late_apply_ms: u64,
    /// Share of requests whose connection is closed unapplied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_drop_before: Rate,
    /// Share of requests that are applied, and their connection closed.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_drop_after: Rate,
    /// Share of requests that are applied and whose answer breaks off in the middle.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_truncated: Rate,
    /// Share of requests that are applied and answered with 200 and an HTML page.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_html: Rate,
    /// Share of requests to the token endpoint answered with 500.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of whole requests")]
    pub rate_token_500: Rate,

    /// Share of operations of a bulk request answered with 400 invalidValue, not applied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_operation_400: Rate,
    /// Share of operations of a bulk request answered with 404, not applied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_operation_404: Rate,
    /// Share of operations of a bulk request answered with 409, not applied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_operation_409: Rate,
    /// Share of operations of a bulk request answered with 429, not applied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_operation_429: Rate,
    /// Share of operations of a bulk request answered with 500, not applied.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_operation_500: Rate,
    /// Share of operations of a bulk request that are applied and answered with 500.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_operation_500_after: Rate,
    /// Share of the results of a bulk request that are missing.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_result_missing: Rate,
    /// Share of the results of a bulk request that come twice.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_result_duplicated: Rate,
    /// Share of bulk requests whose results come in another order.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Faults of bulk requests")]
    pub rate_results_reordered: Rate,
    /// The status of bulk results is a number.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Faults of bulk requests")]
    pub integer_status: bool,
    /// Bulk results have no version.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Faults of bulk requests")]
    pub no_version: bool,
    /// The location of bulk results is relative.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Faults of bulk requests")]
    pub relative_location: bool,

    /// Share of writes after which somebody else changes the resource (nickName, and so the ETag).
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Somebody else")]
    pub rate_foreign_change: Rate,
    /// Share of writes after which somebody else deletes the resource and creates it again under another id.
    #[arg(long, default_value_t, value_name = "RATE", help_heading = "Somebody else")]
    pub rate_foreign_recreate: Rate,

    /// The least milliseconds that a request takes.
    #[arg(long, default_value_t, value_name = "MS", help_heading = "Speed")]
    pub latency_min_ms: u64,
    /// The most milliseconds that a request takes.
    #[arg(long, default_value_t, value_name = "MS", help_heading = "Speed")]
    pub latency_max_ms: u64,
    /// The least milliseconds that each operation adds.
    #[arg(long, default_value_t, value_name = "MS", help_heading = "Speed")]
    pub operation_latency_min_ms: u64,
    /// The most milliseconds that each operation adds.
    #[arg(long, default_value_t, value_name = "MS", help_heading = "Speed")]
    pub operation_latency_max_ms: u64,
    /// Requests a second above which the answer is 429; 0: any number.
    #[arg(long, default_value_t, value_name = "N", help_heading = "Speed")]
    pub requests_per_second: u32,
    /// Operations a second above which the answer is 429; 0: any number.
    #[arg(long, default_value_t, value_name = "N", help_heading = "Speed")]
    pub operations_per_second: u32,

    /// The most operations of a bulk request.
    #[arg(long, default_value_t = MAX_OPERATIONS, value_name = "N", help_heading = "Capabilities")]
    pub max_operations: usize,
    /// The most bytes of a bulk request.
    #[arg(long, default_value_t = MAX_PAYLOAD_BYTES, value_name = "BYTES", help_heading = "Capabilities")]
    pub max_payload_bytes: usize,
    /// The most resources of an answer.
    #[arg(long, default_value_t = PAGE_SIZE, value_name = "N", help_heading = "Capabilities")]
    pub page_size: usize,
    /// Bulk requests are supported, else 501.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub bulk: bool,
    /// PATCH is supported, else 501.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub patch: bool,
    /// ETags are supported, else there are none and If-Match counts for nothing.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub etag: bool,
    /// Filters are supported, else 400 invalidFilter.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub filter: bool,
    /// Filters are taken and ignored: everything is returned.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub ignore_filter: bool,
    /// A userName that is taken, in any case, is refused with 409.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub unique_user_name: bool,
    /// A member that is no resource of the sandbox is refused with 400.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub refuse_unknown_members: bool,
    /// A PATCH that removes what is not there is refused with 400 noTarget.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Capabilities")]
    pub refuse_missing_removals: bool,

    /// Writes to users whose userName contains this text fail.
    #[arg(long, value_name = "TEXT", help_heading = "Poison")]
    pub poison: Option<String>,
    /// The status of a poisoned operation.
    #[arg(long, default_value_t = POISON_STATUS, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(400..600), help_heading = "Poison")]
    #[schemars(range(min = 400, max = 599))]
    pub poison_status: u16,
    /// One poisoned operation makes the whole bulk request fail.
    #[arg(long, default_value_t, num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL", help_heading = "Poison")]
    pub whole_bulk_fails_on_poison: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            scope: Scope::All,
            rate_401: Rate::default(),
            rate_429: Rate::default(),
            rate_500: Rate::default(),
            rate_503: Rate::default(),
            retry_after: RETRY_AFTER,
            retry_after_form: RetryAfterForm::Seconds,
            rate_timeout_before: Rate::default(),
            rate_timeout_after: Rate::default(),
            hang_ms: 0,
            late_apply_ms: 0,
            rate_drop_before: Rate::default(),
            rate_drop_after: Rate::default(),
            rate_truncated: Rate::default(),
            rate_html: Rate::default(),
            rate_token_500: Rate::default(),
            rate_operation_400: Rate::default(),
            rate_operation_404: Rate::default(),
            rate_operation_409: Rate::default(),
            rate_operation_429: Rate::default(),
            rate_operation_500: Rate::default(),
            rate_operation_500_after: Rate::default(),
            rate_result_missing: Rate::default(),
            rate_result_duplicated: Rate::default(),
            rate_results_reordered: Rate::default(),
            integer_status: false,
            no_version: false,
            relative_location: false,
            rate_foreign_change: Rate::default(),
            rate_foreign_recreate: Rate::default(),
            latency_min_ms: 0,
            latency_max_ms: 0,
            operation_latency_min_ms: 0,
            operation_latency_max_ms: 0,
            requests_per_second: 0,
            operations_per_second: 0,
            max_operations: MAX_OPERATIONS,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            page_size: PAGE_SIZE,
            bulk: true,
            patch: true,
            etag: true,
            filter: true,
            ignore_filter: false,
            unique_user_name: true,
            refuse_unknown_members: false,
            refuse_missing_removals: false,
            poison: None,
            poison_status: POISON_STATUS,
            whole_bulk_fails_on_poison: false,
        }
    }
}

impl Faults {
    /// Reads a whole set of faults; keys that are absent have their defaults.
    ///
    /// # Errors
    /// Every unknown key and wrong value, each with its key.
    pub fn from_json(document: Value) -> Result<Self, Vec<String>> {
        let Value::Object(document) = document else {
            return Err(vec!["the faults must be an object".to_owned()]);
        };
        let wrong: Vec<String> = document.iter().filter_map(|(key, value)| wrong_entry(key, value)).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        serde_json::from_value(Value::Object(document)).map_err(|error| vec![error.to_string()])
    }

    /// The JSON Schema of the document that `PUT /_sandbox/faults` takes, as committed in `schemas/sandbox-faults.json`.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Faults).to_value()
    }

    /// What the provider insists on.
    pub fn policy(&self) -> Policy {
        Policy {
            unique_user_name: self.unique_user_name,
            refuse_unknown_members: self.refuse_unknown_members,
            refuse_missing_removals: self.refuse_missing_removals,
            ..Policy::LENIENT
        }
    }

    /// Whether a userName is one that writes fail for.
    pub fn poisons(&self, user_name: &str) -> bool {
        self.poison.as_deref().is_some_and(|text| !text.is_empty() && user_name.contains(text))
    }
}

fn wrong_entry(key: &str, value: &Value) -> Option<String> {
    let alone = Map::from_iter([(key.to_owned(), value.clone())]);
    match serde_json::from_value::<Faults>(Value::Object(alone)) {
        Ok(faults) if !(400..600).contains(&faults.poison_status) => {
            Some(format!("{key}: {value} is no error status"))
        }
        Ok(_) => None,
        Err(error) => Some(format!("{key}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        faults: Faults,
    }

    fn of_flags(flags: &[&str]) -> Faults {
        Command::try_parse_from(["sandbox"].iter().chain(flags)).unwrap().faults
    }

    #[test]
    fn no_flags_are_the_defaults_of_the_document() {
        assert_eq!(of_flags(&[]), Faults::default());
        assert_eq!(Faults::from_json(json!({})), Ok(Faults::default()));
    }

    #[test]
    fn every_key_is_a_flag() {
        let command = <Command as clap::CommandFactory>::command();
        let flags: Vec<String> =
            command.get_arguments().filter_map(|it| Some(it.get_long()?.replace('-', "_"))).collect();
        let keys = serde_json::to_value(Faults::default()).unwrap();
        for key in keys.as_object().unwrap().keys() {
            assert!(flags.contains(key), "--{key}");
        }
    }

    #[test]
    fn flags_and_keys_say_the_same() {
        let flags = of_flags(&["--rate-500", "0.25", "--bulk", "false", "--integer-status", "--poison", "x"]);
        let keys = json!({"rate_500": 0.25, "bulk": false, "integer_status": true, "poison": "x"});
        assert_eq!(Faults::from_json(keys), Ok(flags));
    }

    #[test]
    fn all_wrong_keys_are_named_at_once() {
        let wrong =
            Faults::from_json(json!({"rate_500": 2, "rate_5OO": 1, "poison_status": 200, "bulk": true}))
                .unwrap_err();
        assert_eq!(wrong[0], "poison_status: 200 is no error status");
        assert_eq!(wrong[1], "rate_500: 2 is not from 0 to 1");
        assert!(wrong[2].starts_with("rate_5OO: unknown field `rate_5OO`"), "{}", wrong[2]);
        assert_eq!(wrong.len(), 3);
    }
}
