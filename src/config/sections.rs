//! The sections of a configuration, built from values that are each right alone.

use std::num::NonZeroU32;

use url::Url;

use super::reader::Reader;
use super::value::{Parsed, winner};
use super::{Amqp, Auth, Config, Redis, Target};
use crate::core::budget::Limits;
use crate::core::conflict::Policy;
use crate::target::BulkCosts;

impl Reader {
    /// None: something is missing, and a problem says what.
    pub(super) fn build(&mut self) -> Option<Config> {
        let amqp = self.amqp();
        let redis = self.redis();
        let target = self.target();
        let listen = self.listen();
        let delays = match self.values.get("retry.delays")? {
            Parsed::Durations(delays) => delays.clone(),
            _ => return None,
        };
        Some(Config {
            amqp: amqp?,
            redis: redis?,
            max_clock_skew: self.span("events.max_clock_skew")?,
            wait_for_base: self.span("events.wait_for_base")?,
            reference: self.text("references.user")?,
            reference_wait: self.span("references.wait")?,
            target: target?,
            adopt: self.text("matching.adopt")? == "unclaimed",
            mode: self.text("flush.mode")?,
            max_operations: self.number("flush.max_operations")?,
            max_bytes: self.number("flush.max_bytes")?,
            linger: self.span("flush.linger")?,
            catch_up: self.span("flush.catch_up")?,
            concurrency: self.number("flush.concurrency")?,
            limits: self.limits()?,
            delays,
            max_attempts: self.number("retry.max_attempts")?,
            deprovision_user: self.text("deprovision.user")?,
            deprovision_group: self.text("deprovision.group")?,
            memberships: self.memberships()?,
            guard: self.guard()?,
            held_expires_after: self.span("deprovision.held_expires_after")?,
            conflict: Policy {
                otherwise: winner(&self.text("conflict.policy")?)?,
                attributes: match self.values.get("conflict.attributes")? {
                    Parsed::Winners(winners) => winners.clone(),
                    _ => return None,
                },
            },
            members: self.text("conflict.members")?,
            journal_enabled: self.flag("journal.enabled"),
            journal_max_age: self.span("journal.max_age")?,
            journal_max_bytes: self.number("journal.max_bytes")?,
            parked_ttl: self.span("dead.parked_ttl")?,
            listen: listen?,
            shutdown_timeout: self.span("shutdown.timeout")?,
        })
    }

    /// Who is in which group is known by the source's key of the user.
    fn memberships(&mut self) -> Option<String> {
        let memberships = self.text("deprovision.memberships")?;
        if memberships == "remove" && self.text("references.user")? != "externalId" {
            let what = "`remove` needs references.user = \"externalId\": by other names it is not known who is in which group";
            self.problem("deprovision.memberships", what);
        }
        Some(memberships)
    }

    /// What is configured, else what the profile says.
    fn limits(&self) -> Option<Limits> {
        let profile = self.profile()?;
        let rates = &profile.rates;
        let of_profile = |rate: &Option<String>| rate.as_ref().and_then(|rate| rate.parse().ok());
        let requests = self.rate("limits.requests").unwrap_or_else(|| of_profile(&rates.requests));
        let burst = self.number("limits.burst").or(rates.burst.map(NonZeroU32::get)).unwrap_or(1);
        let operations = self.rate("limits.operations").unwrap_or_else(|| of_profile(&rates.operations));
        // where each operation of a bulk request counts as a request, the rate of requests holds for operations too
        let counted = requests.filter(|_| rates.bulk_costs == BulkCosts::PerOperation);
        Some(Limits { requests, burst, operations: operations.or(counted) })
    }

    fn amqp(&mut self) -> Option<Amqp> {
        let tls = self.tls("amqp");
        if self.text("amqp.exchange").is_some_and(|name| name.len() > 255) {
            self.problem("amqp.exchange", "must have at most 255 bytes: AMQP allows no more");
        }
        Some(Amqp {
            url: self.url("amqp.url")?,
            username: self.text("amqp.username"),
            password: self.secret("amqp.password"),
            tls,
            exchange: self.text("amqp.exchange")?,
            bindings: self.texts("amqp.bindings")?,
            urgent_bindings: self.texts("amqp.urgent_bindings")?,
            prefetch: self.number("amqp.prefetch")?,
            max_event_bytes: self.number("amqp.max_event_bytes")?,
            delivery_limit: self.number("amqp.delivery_limit")?,
        })
    }

    fn redis(&mut self) -> Option<Redis> {
        let tls = self.tls("redis");
        let cluster = self.text("redis.mode")? == "cluster";
        let urls = match (cluster, self.texts("redis.urls")) {
            (true, Some(urls)) if urls.is_empty() => {
                self.problem("redis.urls", "must hold at least one node of the cluster");
                return None;
            }
            (true, Some(urls)) => urls,
            (true, None) | (false, None) => vec![self.url("redis.url")?.to_string()],
            (false, Some(_)) => {
                self.problem("redis.urls", "is for mode = \"cluster\": use redis.url");
                return None;
            }
        };
        for url in &urls {
            let good = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss"));
            if !good {
                self.problem("redis.urls", "must hold URLs that begin with redis:// or rediss://");
            }
        }
        Some(Redis {
            urls,
            cluster,
            tls,
            key_prefix: self.text("redis.key_prefix")?,
            tombstone_ttl: self.span("redis.tombstone_ttl")?,
        })
    }

    fn target(&mut self) -> Option<Target> {
        let tls = self.tls("target");
        let base_url = self.url("target.base_url");
        let token_url = self.url("target.auth.token_url");
        for (path, url) in [("target.base_url", &base_url), ("target.auth.token_url", &token_url)] {
            let Some(url) = url else { continue };
            if url.scheme() == "http" && !is_loopback(url) && !self.flag("target.allow_http") {
                self.problem(path, "http beyond this machine sends secrets in the clear: use https, or set target.allow_http = true");
            }
            if !url.username().is_empty() || url.password().is_some() {
                self.problem(path, "must not hold credentials: use [target.auth]");
            }
        }
        let auth = self.auth(token_url);
        Some(Target {
            name: self.text("target.name")?,
            base_url: base_url?,
            profile: self.profile()?,
            tls,
            timeout: self.span("target.timeout")?,
            bulk_timeout: self.span("target.bulk_timeout")?,
            read_only: self.flag("target.read_only"),
            protected: self.texts("target.protected")?,
            late_window: self.span("target.late_window")?,
            auth: auth?,
        })
    }

    fn auth(&mut self, token_url: Option<Url>) -> Option<Auth> {
        let kind = self.text("target.auth.kind")?;
        let need = |reader: &mut Self, key: &str, there: bool| {
            let path = format!("target.auth.{key}");
            if !there && !reader.problems.iter().any(|problem| problem.key == path) {
                reader.problem(&path, format!("is required with kind = \"{kind}\""));
            }
        };
        match kind.as_str() {
            "bearer" => {
                let token = self.secret("target.auth.token");
                need(self, "token", token.is_some());
                Some(Auth::Bearer(token?))
            }
            "oauth2-client-credentials" => {
                let (client_id, client_secret) =
                    (self.text("target.auth.client_id"), self.secret("target.auth.client_secret"));
                need(self, "token_url", token_url.is_some());
                need(self, "client_id", client_id.is_some());
                need(self, "client_secret", client_secret.is_some());
                Some(Auth::ClientCredentials {
                    token_url: token_url?,
                    client_id: client_id?,
                    client_secret: client_secret?,
                    post: self.text("target.auth.client_auth")? == "client_secret_post",
                    scope: self.text("target.auth.scope"),
                    refresh_before: self.span("target.auth.refresh_before")?,
                })
            }
            "cxone-access-key" => {
                let (id, secret) =
                    (self.text("target.auth.access_key_id"), self.secret("target.auth.access_key_secret"));
                need(self, "token_url", token_url.is_some());
                need(self, "access_key_id", id.is_some());
                need(self, "access_key_secret", secret.is_some());
                Some(Auth::AccessKey {
                    token_url: token_url?,
                    access_key_id: id?,
                    access_key_secret: secret?,
                    refresh_before: self.span("target.auth.refresh_before")?,
                })
            }
            _ => Some(Auth::None),
        }
    }

    fn listen(&mut self) -> Option<std::net::SocketAddr> {
        let text = self.text("admin.listen")?;
        match text.replace("localhost:", "127.0.0.1:").parse() {
            Ok(listen) => Some(listen),
            Err(_) => {
                self.problem("admin.listen", "must be an address and a port such as \"127.0.0.1:9464\"");
                None
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
