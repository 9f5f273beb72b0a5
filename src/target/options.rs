//! What the client has to know. Built from the configuration, secrets already read.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::profile::Profile;

/// How to reach a target.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// Base URL, with or without a slash at its end. A query in it is sent along with every request.
    pub base_url: Url,
    /// For every request but bulk ones: from connecting to the end of the answer. Connecting takes at most half of it.
    pub timeout: Duration,
    /// The same for bulk requests.
    pub bulk_timeout: Duration,
    /// How to prove who we are.
    pub auth: AuthOptions,
    /// For `https`.
    pub tls: TlsOptions,
    /// What is special about this kind of target.
    pub profile: Arc<Profile>,
}

/// Certificates beyond the system's.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// PEM certificates of authorities trusted in addition to the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// PEM of the client's certificate chain, followed by its private key.
    pub identity_pem: Option<SecretString>,
}

/// How to prove who we are.
#[derive(Clone, Debug)]
pub enum AuthOptions {
    /// Not at all.
    None,
    /// A fixed bearer token.
    Bearer(SecretString),
    /// OAuth2 client credentials.
    ClientCredentials(ClientCredentials),
    /// An access key of NICE CXone.
    AccessKey(AccessKey),
}

impl AuthOptions {
    /// The token endpoint, if tokens are fetched.
    pub fn token_url(&self) -> Option<&Url> {
        match self {
            AuthOptions::None | AuthOptions::Bearer(_) => None,
            AuthOptions::ClientCredentials(credentials) => Some(&credentials.token_url),
            AuthOptions::AccessKey(key) => Some(&key.token_url),
        }
    }
}

/// OAuth2 client credentials (RFC 6749 s4.4).
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The token endpoint.
    pub token_url: Url,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Where the two go.
    pub client_auth: ClientAuth,
    /// `scope`, as it is sent.
    pub scope: Option<String>,
    /// How long before a token expires the next one is fetched; for tokens that live shorter than twice this, half of their life.
    pub refresh_before: Duration,
}

/// An access key of NICE CXone (developer.niceincontact.com, "Back-End Application").
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The token endpoint, `…/authentication/v1/token/access-key`.
    pub token_url: Url,
    /// The key's id.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: SecretString,
    /// As [`ClientCredentials::refresh_before`].
    pub refresh_before: Duration,
}

/// How a client authenticates at the token endpoint (RFC 6749 s2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`: HTTP Basic, both form-encoded first.
    Basic,
    /// `client_secret_post`: in the form.
    Post,
}

/// Why a client can't be built. A matter of configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `mailto:` and the like.
    #[error("target.base_url is not an http or https url")]
    BaseUrl,
    /// A line break in it, for example.
    #[error("the bearer token holds characters that a header can't carry")]
    Token,
    /// A line break in it, for example.
    #[error("the profile's `http.{0}` holds characters that a header can't carry")]
    Header(&'static str),
    /// Not PEM.
    #[error("the certificate authorities can't be read as PEM: {0}")]
    Authorities(#[source] reqwest::Error),
    /// Not PEM, or certificate or key missing.
    #[error("the client certificate and key can't be read as PEM: {0}")]
    Identity(#[source] reqwest::Error),
    /// The system's certificates can't be read, for example.
    #[error("the http client can't be set up: {0}")]
    Client(#[source] reqwest::Error),
}
