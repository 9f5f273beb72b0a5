//! From the configuration to the options of each part.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::broker::connection::BrokerOptions;
use crate::broker::topology::{Names, TopologyOptions};
use crate::cli::Exit;
use crate::config::{Auth, Config, TlsFiles};
use crate::core::gap::Deprovisioning;
use crate::core::listing::Memberships;
use crate::core::retry::Ladder;
use crate::ops::clock::{system_time, ulid};
use crate::ops::metrics::Requests;
use crate::pipeline::settings::{Mode, ReferenceKind, Routes, Settings};
use crate::store::redis::{RedisOptions, RedisStore};
use crate::target::{
    AccessKey, AuthOptions, ClientAuth, ClientCredentials, HttpTarget, Limiter, TargetOptions, TlsOptions,
};

fn pem(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| (format!("the file {path} can't be read: {error}"), Exit::Usage))
}

fn pem_text(path: &str) -> Result<String, Failure> {
    String::from_utf8(pem(path)?).map_err(|_| (format!("the file {path} is not PEM"), Exit::Usage))
}

/// PEM of a client certificate, and of its key.
type Identity = (Vec<u8>, Vec<u8>);

fn client_pem(tls: &TlsFiles) -> Result<Option<Identity>, Failure> {
    tls.client.as_ref().map(|(certificate, key)| Ok((pem(certificate)?, pem(key)?))).transpose()
}

pub(super) fn broker_options(config: &Config) -> Result<BrokerOptions, Failure> {
    let amqp = &config.amqp;
    Ok(BrokerOptions {
        url: amqp.url.clone(),
        username: amqp.username.clone(),
        password: amqp.password.clone(),
        ca_pem: amqp.tls.ca.as_deref().map(pem_text).transpose()?,
        client_pem: client_pem(&amqp.tls)?,
        name: format!("scim-relay {}", config.target.name),
    })
}

pub(super) fn topology_options(config: &Config) -> TopologyOptions {
    TopologyOptions {
        target: config.target.name.clone(),
        exchange: config.amqp.exchange.clone(),
        bindings: config.amqp.bindings.clone(),
        urgent_bindings: config.amqp.urgent_bindings.clone(),
        delivery_limit: config.amqp.delivery_limit,
        delays: config.delays.clone(),
        journal: config.journal_enabled,
        journal_max_age: config.journal_max_age,
        journal_max_bytes: config.journal_max_bytes,
        parked_ttl: config.parked_ttl,
        held_expires_after: config.held_expires_after,
    }
}

pub(super) fn redis_options(config: &Config) -> Result<RedisOptions, Failure> {
    Ok(RedisOptions {
        urls: config.redis.urls.clone(),
        cluster: config.redis.cluster,
        key_prefix: config.redis.key_prefix.clone(),
        target: config.target.name.clone(),
        ca_pem: config.redis.tls.ca.as_deref().map(pem).transpose()?,
        client_pem: client_pem(&config.redis.tls)?,
        unique: ulid,
    })
}

pub(super) fn target(config: &Config) -> Result<HttpTarget, Failure> {
    let tls = &config.target.tls;
    let identity = match &tls.client {
        Some((certificate, key)) => Some((pem_text(certificate)? + "\n" + &pem_text(key)?).into()),
        None => None,
    };
    let auth = match &config.target.auth {
        Auth::None => AuthOptions::None,
        Auth::Bearer(token) => AuthOptions::Bearer(token.clone()),
        Auth::ClientCredentials { token_url, client_id, client_secret, post, scope, refresh_before } => {
            AuthOptions::ClientCredentials(ClientCredentials {
                token_url: token_url.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.clone(),
                client_auth: if *post { ClientAuth::Post } else { ClientAuth::Basic },
                scope: scope.clone(),
                refresh_before: *refresh_before,
            })
        }
        Auth::AccessKey { token_url, access_key_id, access_key_secret, refresh_before } => {
            AuthOptions::AccessKey(AccessKey {
                token_url: token_url.clone(),
                access_key_id: access_key_id.clone(),
                access_key_secret: access_key_secret.clone(),
                refresh_before: *refresh_before,
            })
        }
    };
    let options = TargetOptions {
        base_url: config.target.base_url.clone(),
        timeout: config.target.timeout,
        bulk_timeout: config.target.bulk_timeout,
        auth,
        tls: TlsOptions { ca_pem: tls.ca.as_deref().map(pem).transpose()?, identity_pem: identity },
        profile: config.target.profile.clone(),
    };
    HttpTarget::new(options, Arc::new(Requests::default()), system_time)
        .map_err(|error| (error.to_string(), Exit::Usage))
}

/// Where the target's requests get their places. Who waits when `stop` comes does not wait any longer.
pub(super) fn limiter(config: &Config, store: Arc<RedisStore>, stop: CancellationToken) -> Limiter {
    Limiter::new(store, config.limits, system_time, stop)
}

/// The target for a command that asks it something. Where the store is not reachable a command has nothing to compare
/// with but the target itself (`check`), and asks it without a place in the budget.
pub(super) async fn asked_target(config: &Config) -> Result<HttpTarget, Failure> {
    let target = target(config)?;
    Ok(match RedisStore::connect(redis_options(config)?).await {
        Ok(store) => target.budgeted(limiter(config, Arc::new(store), CancellationToken::new())),
        Err(_) => target,
    })
}

/// The most operations of a bulk request: no more than their rate can carry.
fn max_operations(config: &Config) -> usize {
    let at_once = config.limits.most_at_once().and_then(|most| usize::try_from(most).ok());
    at_once.map_or(config.max_operations, |most| most.min(config.max_operations))
}

/// Without a journal there is no stream of outcomes either.
fn routes(config: &Config) -> Routes {
    let routes = Names::new(&config.target.name).routes(&config.delays);
    Routes { outcomes: routes.outcomes.filter(|_| config.journal_enabled), ..routes }
}

pub(super) fn settings(config: &Config) -> Settings {
    let deprovisioning = |what: &str| match what {
        "delete" => Deprovisioning::Delete,
        "keep" => Deprovisioning::Keep,
        _ => Deprovisioning::Deactivate,
    };
    Settings {
        target: config.target.name.clone(),
        max_event_bytes: config.amqp.max_event_bytes,
        max_clock_skew: config.max_clock_skew,
        wait_for_base: config.wait_for_base,
        reference_wait: config.reference_wait,
        held_expires_after: config.held_expires_after,
        references: match config.reference.as_str() {
            "userName" => ReferenceKind::UserName,
            "email" => ReferenceKind::Email,
            _ => ReferenceKind::ExternalId,
        },
        read_only: config.target.read_only,
        protected: config.target.protected.clone(),
        adopt: config.adopt,
        mode: match config.mode.as_str() {
            "bulk" => Mode::Bulk,
            "single" => Mode::Single,
            _ => Mode::Auto,
        },
        max_operations: max_operations(config),
        max_bytes: config.max_bytes,
        linger: config.linger,
        catch_up: config.catch_up,
        concurrency: config.concurrency,
        ladder: Ladder { delays: config.delays.clone(), max_attempts: config.max_attempts },
        user: deprovisioning(&config.deprovision_user),
        group: deprovisioning(&config.deprovision_group),
        memberships: match config.memberships.as_str() {
            "remove" => Memberships::Remove,
            _ => Memberships::Keep,
        },
        guard: config.guard,
        conflict: config.conflict.clone(),
        members_are_authoritative: config.members == "authoritative",
        late_window: config.target.late_window,
        journal: config.journal_enabled.then_some(config.journal_max_age),
        tombstone_ttl: config.redis.tombstone_ttl,
        dialect: Arc::new(config.target.profile.dialect()),
        routes: routes(config),
    }
}
