//! Proving who we are: a token per request, and another one when it was refused.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::exchange::Http;
use super::options::{AuthOptions, BuildError};
use super::token::TokenSource;
use crate::core::outcome::NotSent;

/// Where tokens come from.
#[derive(Debug)]
pub(super) enum Auth {
    /// Nowhere.
    None,
    /// Always this one.
    Fixed(Token),
    /// A token endpoint.
    Fetched(Box<TokenSource>),
}

/// A token, ready to be sent. Does not print.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// `Bearer …`, marked as sensitive.
    pub header: HeaderValue,
    /// Tells tokens apart.
    pub generation: u64,
}

impl Token {
    pub(super) fn new(secret: &SecretString, generation: u64) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret().trim())).ok()?;
        header.set_sensitive(true);
        Some(Self { header, generation })
    }
}

impl Auth {
    pub(super) fn new(options: AuthOptions) -> Result<Self, BuildError> {
        Ok(match options {
            AuthOptions::None => Auth::None,
            AuthOptions::Bearer(secret) => Auth::Fixed(Token::new(&secret, 0).ok_or(BuildError::Token)?),
            AuthOptions::ClientCredentials(credentials) => {
                Auth::Fetched(Box::new(TokenSource::new(credentials.into())))
            }
            AuthOptions::AccessKey(key) => Auth::Fetched(Box::new(TokenSource::new(key.into()))),
        })
    }

    /// The token to send, if any is needed.
    pub(super) async fn token(&self, http: &Http) -> Result<Option<Token>, NotSent> {
        match self {
            Auth::None => Ok(None),
            Auth::Fixed(token) => Ok(Some(token.clone())),
            Auth::Fetched(source) => source.token(http).await.map(Some),
        }
    }

    /// Another token after this one was refused; none when there is no other.
    pub(super) async fn replace(&self, http: &Http, refused: &Token) -> Result<Option<Token>, NotSent> {
        match self {
            Auth::None | Auth::Fixed(_) => Ok(None),
            Auth::Fetched(source) => {
                source.invalidate(refused);
                source.token(http).await.map(Some)
            }
        }
    }
}
