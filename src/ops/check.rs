//! `check`: looks at everything the relay depends on, and writes nothing.

use serde::Serialize;

use crate::broker::connection::BrokerOptions;
use crate::config::{Auth, Config};
use crate::core::outcome::{NotSent, Outcome};
use crate::core::resource::ResourceType;
use crate::pipeline::ports::{Failure, Store, Target};
use crate::store::redis::{RedisOptions, RedisStore};
use crate::target::HttpTarget;

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but.
    Warning,
    /// It would not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// What.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found, and the way out.
    pub detail: String,
}

impl Item {
    fn new(check: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { check, verdict, detail: detail.into() }
    }

    /// One line for people.
    pub fn to_text(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED ",
        };
        format!("{verdict}  {:<14} {}", self.check, self.detail)
    }

    /// One line for programs.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Looks at everything.
pub async fn run(
    config: &Config,
    broker: &BrokerOptions,
    redis: RedisOptions,
    target: &HttpTarget,
) -> Vec<Item> {
    let mut items = vec![Item::new("configuration", Verdict::Ok, format!("target `{}`", config.target.name))];
    items.push(check_profile(config));
    items.push(check_broker(broker).await);
    items.extend(check_store(redis).await);
    items.extend(check_target(config, target).await);
    items
}

fn check_profile(config: &Config) -> Item {
    let (profile, path) = (&config.target.profile, config.target.base_url.path());
    let mut doubts = Vec::new();
    if let Some(expected) = profile.base_path.as_ref().filter(|_| !profile.fits_base_path(path)) {
        doubts.push(format!("expects target.base_url to end in {expected}, and its path is {path}"));
    }
    let source = match profile.source.as_str() {
        "" => String::new(),
        source => format!(" (it comes from {source})"),
    };
    if !profile.verified {
        doubts.push(format!("is not verified by a contract test{source}: try target.read_only first"));
    }
    if doubts.is_empty() {
        let detail = format!("`{}` is verified by its contract test{source}", profile.name);
        return Item::new("profile", Verdict::Ok, detail);
    }
    Item::new("profile", Verdict::Warning, format!("`{}` {}", profile.name, doubts.join("; and it ")))
}

async fn check_broker(broker: &BrokerOptions) -> Item {
    match broker.connect("check").await {
        Ok(connection) => {
            // it is only closed for order's sake
            let _ = connection.close(200, "done".into()).await;
            Item::new("broker", Verdict::Ok, format!("{} answers", broker.address()))
        }
        Err(error) => Item::new("broker", Verdict::Failed, format!("{error}; see [amqp]")),
    }
}

async fn check_store(redis: RedisOptions) -> Vec<Item> {
    let store = match RedisStore::connect(redis).await {
        Ok(store) => store,
        Err(error) => return vec![Item::new("store", Verdict::Failed, format!("{error}; see [redis]"))],
    };
    if let Err(error) = store.ping().await {
        return vec![Item::new("store", Verdict::Failed, format!("{error}; see [redis]"))];
    }
    match store.info().await {
        Ok(info) if info.maxmemory_policy == "noeviction" => {
            vec![Item::new(
                "store",
                Verdict::Ok,
                format!("Redis {}, maxmemory-policy noeviction", info.version),
            )]
        }
        Ok(info) => {
            let policy = info.maxmemory_policy;
            let way = "it may evict what the relay knows: set maxmemory-policy to noeviction";
            vec![Item::new("store", Verdict::Failed, format!("maxmemory-policy is `{policy}`: {way}"))]
        }
        Err(error) => {
            vec![Item::new("store", Verdict::Warning, format!("its settings are unknown: {error}"))]
        }
    }
}

fn explain(failure: &Failure) -> String {
    match failure {
        Failure::Answered(answer) if answer.status == 401 => "it answered 401: see [target.auth]".into(),
        Failure::Answered(answer) if answer.status == 403 => {
            "it answered 403: the credentials lack the scope or permission".into()
        }
        Failure::Answered(answer) => format!("it answered {}: see target.base_url", answer.status),
        Failure::Broken(Outcome::NotSent(NotSent::Token(why))) => {
            format!("no token: {why}; see [target.auth]")
        }
        Failure::Broken(Outcome::NotSent(NotSent::Connect(why) | NotSent::Tls(why))) => {
            format!("{why}; see target.base_url")
        }
        failure @ Failure::Broken(_) => failure.to_string(),
    }
}

async fn check_target(config: &Config, target: &HttpTarget) -> Vec<Item> {
    let base = &config.target.base_url;
    let endpoint = match &config.target.auth {
        Auth::ClientCredentials { token_url, .. } | Auth::AccessKey { token_url, .. } => Some(token_url),
        Auth::None | Auth::Bearer(_) => None,
    };
    // it is asked before the target is
    let granted = endpoint.map(|url| Item::new("token", Verdict::Ok, format!("{url} grants one")));
    let capabilities = match target.discover().await {
        Ok(capabilities) => capabilities,
        Err(failure @ Failure::Broken(Outcome::NotSent(NotSent::Token(_)))) => {
            let address = endpoint.map(|url| format!("{url}: ")).unwrap_or_default();
            return vec![Item::new("token", Verdict::Failed, format!("{address}{}", explain(&failure)))];
        }
        Err(failure) => {
            let failed = Item::new("target", Verdict::Failed, format!("{base}: {}", explain(&failure)));
            return granted.into_iter().chain([failed]).collect();
        }
    };
    let bulk = match capabilities.bulk {
        Some(bulk) => format!("bulk of {} operations and {} bytes", bulk.max_operations, bulk.max_bytes),
        None => "no bulk: single requests".into(),
    };
    let yes = |there: bool, what: &str| if there { what.to_owned() } else { format!("no {what}") };
    let detail =
        format!("{base}: {bulk}, {}, {}", yes(capabilities.patch, "PATCH"), yes(capabilities.etag, "ETags"));
    let mut items: Vec<Item> =
        granted.into_iter().chain([Item::new("target", Verdict::Ok, detail)]).collect();
    if config.mode == "bulk" && capabilities.bulk.is_none() {
        let way = "flush.mode is `bulk`: use `auto` or `single`";
        items.push(Item::new("bulk", Verdict::Failed, format!("the target does not offer it, and {way}")));
    }
    for kind in ResourceType::ALL {
        items.push(match target.count(kind).await {
            Ok(Some(count)) => Item::new(kind.segment(), Verdict::Ok, format!("{count} at the target")),
            Ok(None) => Item::new(kind.segment(), Verdict::Ok, "readable"),
            Err(failure) => Item::new(kind.segment(), Verdict::Failed, explain(&failure)),
        });
    }
    items
}
