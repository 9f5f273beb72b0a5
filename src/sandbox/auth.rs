//! Bearer tokens (RFC 6750) and the token endpoint for client credentials (RFC 6749 s4.4).

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::dice::Dice;
use super::error::Refusal;

/// What clients must show.
#[derive(Debug)]
pub struct Auth {
    token: Option<String>,
    client: Option<(String, String)>,
    lifetime: SignedDuration,
    issued: HashMap<String, Timestamp>,
}

/// An error of the token endpoint (RFC 6749 s5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The client is not known or its secret is wrong.
    InvalidClient,
    /// No grant is named.
    InvalidRequest,
    /// Another grant than client credentials.
    UnsupportedGrantType,
}

impl TokenError {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            TokenError::InvalidClient => 401,
            TokenError::InvalidRequest | TokenError::UnsupportedGrantType => 400,
        }
    }

    /// The body.
    pub fn body(self) -> Value {
        match self {
            TokenError::InvalidClient => json!({"error": "invalid_client"}),
            TokenError::InvalidRequest => json!({"error": "invalid_request"}),
            TokenError::UnsupportedGrantType => json!({"error": "unsupported_grant_type"}),
        }
    }
}

impl Auth {
    /// `token` is accepted as it is; `client` may fetch others, each valid for `lifetime`.
    pub fn new(token: Option<String>, client: Option<(String, String)>, lifetime: SignedDuration) -> Self {
        Self { token, client, lifetime, issued: HashMap::new() }
    }

    /// Checks an Authorization header.
    ///
    /// # Errors
    /// 401, if anything is required at all.
    pub fn check(&self, authorization: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        if self.token.is_none() && self.client.is_none() {
            return Ok(());
        }
        let refused = |why: &str| Err(Refusal::new(401, why));
        let Some(shown) = authorization.and_then(|it| scheme(it, "bearer")) else {
            return refused("a bearer token is required");
        };
        match self.issued.get(shown) {
            _ if self.token.as_deref() == Some(shown) => Ok(()),
            Some(expires) if now < *expires => Ok(()),
            Some(_) => refused("the token has expired"),
            None => refused("the token is not known"),
        }
    }

    /// Issues a token; without a configured client, to anybody.
    ///
    /// # Errors
    /// Those of RFC 6749 s5.2.
    pub fn issue(
        &mut self,
        authorization: Option<&str>,
        form: &[u8],
        now: Timestamp,
        dice: &mut Dice,
    ) -> Result<Value, TokenError> {
        let fields: HashMap<String, String> = form_urlencoded::parse(form).into_owned().collect();
        self.check_client(authorization, &fields)?;
        match fields.get("grant_type").map(String::as_str) {
            Some("client_credentials") => {}
            Some(_) => return Err(TokenError::UnsupportedGrantType),
            None => return Err(TokenError::InvalidRequest),
        }
        let mut answer = self.grant(now, dice);
        if let Some(scope) = fields.get("scope") {
            answer["scope"] = scope.as_str().into();
        }
        Ok(answer)
    }

    /// Issues a token for an access key, as NICE CXone does: the client's id and secret as JSON.
    ///
    /// # Errors
    /// The key is no JSON, or not the client's.
    pub fn issue_for_key(
        &mut self,
        key: &[u8],
        now: Timestamp,
        dice: &mut Dice,
    ) -> Result<Value, TokenError> {
        let key: Value = serde_json::from_slice(key).map_err(|_| TokenError::InvalidRequest)?;
        let text = |name: &str| key.get(name)?.as_str();
        let (Some(shown_id), Some(shown_secret)) = (text("accessKeyId"), text("accessKeySecret")) else {
            return Err(TokenError::InvalidRequest);
        };
        match &self.client {
            Some((id, secret)) if shown_id != id || shown_secret != secret => Err(TokenError::InvalidClient),
            Some(_) | None => Ok(self.grant(now, dice)),
        }
    }

    fn grant(&mut self, now: Timestamp, dice: &mut Dice) -> Value {
        self.issued.retain(|_, expires| now < *expires);
        let token = dice.token();
        self.issued.insert(token.clone(), now.saturating_add(self.lifetime).unwrap_or(now));
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": self.lifetime.as_secs() })
    }

    fn check_client(
        &self,
        authorization: Option<&str>,
        fields: &HashMap<String, String>,
    ) -> Result<(), TokenError> {
        let Some((id, secret)) = &self.client else { return Ok(()) };
        let shown = match authorization {
            Some(header) => basic(header),
            None => fields.get("client_id").cloned().zip(fields.get("client_secret").cloned()),
        };
        let known = shown.is_some_and(|(shown_id, shown_secret)| shown_id == *id && shown_secret == *secret);
        if known { Ok(()) } else { Err(TokenError::InvalidClient) }
    }
}

/// The credentials of a scheme, named in any case (RFC 9110 s11.1).
fn scheme<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim())
}

/// Client id and secret, which RFC 6749 s2.3.1 wants form-encoded inside Basic.
fn basic(header: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(scheme(header, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // with an = in front, what follows is a value whatever it contains, save &
    let escaped = format!("={}", text.replace('&', "%26"));
    form_urlencoded::parse(escaped.as_bytes()).map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn client() -> Auth {
        let client = Some(("relay".to_owned(), "s3c=r&t +%".to_owned()));
        Auth::new(None, client, SignedDuration::from_secs(60))
    }

    fn bearer(answer: &Value) -> String {
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    #[test]
    fn issued_tokens_are_good_until_they_expire() {
        let (mut auth, mut dice) = (client(), Dice::new(1));
        let form = b"grant_type=client_credentials&client_id=relay&client_secret=s3c%3Dr%26t+%2B%25";
        let answer = auth.issue(None, form, at(0), &mut dice).unwrap();
        assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(60)));
        assert_eq!(auth.check(Some(&bearer(&answer)), at(59)), Ok(()));
        assert_eq!(auth.check(Some(&bearer(&answer)), at(60)).unwrap_err().detail, "the token has expired");
        assert_eq!(auth.check(None, at(0)).unwrap_err().status, 401);
    }

    #[test]
    fn clients_authenticate_with_basic_too() {
        let (mut auth, mut dice) = (client(), Dice::new(1));
        let basic = format!("Basic {}", STANDARD.encode("relay:s3c%3Dr%26t+%2B%25"));
        assert!(auth.issue(Some(&basic), b"grant_type=client_credentials", at(0), &mut dice).is_ok());
        let wrong = format!("Basic {}", STANDARD.encode("relay:no"));
        let refused = auth.issue(Some(&wrong), b"grant_type=client_credentials", at(0), &mut dice);
        assert_eq!(refused, Err(TokenError::InvalidClient));
    }

    #[test]
    fn other_grants_are_not_supported() {
        let mut auth = Auth::new(Some("t".into()), None, SignedDuration::from_secs(60));
        let refused = auth.issue(None, b"grant_type=password", at(0), &mut Dice::new(1));
        assert_eq!(refused, Err(TokenError::UnsupportedGrantType));
        let refused = auth.issue(None, b"", at(0), &mut Dice::new(1));
        assert_eq!(refused, Err(TokenError::InvalidRequest));
    }

    #[test]
    fn the_static_token_is_compared_as_a_whole() {
        let auth = Auth::new(Some("letmein".into()), None, SignedDuration::from_secs(60));
        assert_eq!(auth.check(Some("bearer letmein"), at(0)), Ok(()));
        for wrong in ["Bearer letme", "Bearer letmein2", "Basic letmein", "letmein", ""] {
            assert_eq!(auth.check(Some(wrong), at(0)).unwrap_err().status, 401, "{wrong}");
        }
    }

    #[test]
    fn without_a_token_and_a_client_anybody_may_come() {
        let auth = Auth::new(None, None, SignedDuration::from_secs(60));
        assert_eq!(auth.check(None, at(0)), Ok(()));
    }
}
