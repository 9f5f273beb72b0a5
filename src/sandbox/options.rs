//! How a sandbox is started.

use clap::Args;

use super::faults::Faults;
use super::manners::Manners;

const LISTEN: &str = "127.0.0.1:8080";
const TOKEN_LIFETIME_SECONDS: u32 = 3600;

/// The flags of `scim-relay sandbox`.
#[derive(Clone, Debug, Args)]
pub struct SandboxOptions {
    /// Address to listen on; port 0: any that is free.
    #[arg(long, default_value = LISTEN, value_name = "ADDRESS")]
    pub listen: String,
    /// Behave like a provider: a profile's name or file, as in `target.profile`. What the profile says it has not is refused; it is
    /// served below the profile's base path too, and below /scim/v2 as ever.
    #[arg(long, value_name = "PROFILE", value_parser = Manners::of)]
    pub profile: Option<Manners>,
    /// Bearer token that /scim/v2 wants; without it and without a client nothing is wanted.
    #[arg(long)]
    pub token: Option<String>,
    /// Client that may fetch tokens at /oauth/token, and with an access key at /authentication/v1/token/access-key; without it
    /// anybody may.
    #[arg(long, requires = "client_secret", value_name = "ID")]
    pub client_id: Option<String>,
    /// The client's secret.
    #[arg(long, requires = "client_id", value_name = "SECRET")]
    pub client_secret: Option<String>,
    /// Seconds for which a fetched token is good.
    #[arg(long, default_value_t = TOKEN_LIFETIME_SECONDS, value_name = "SECONDS")]
    pub token_lifetime: u32,
    /// Seed of identifiers and of the faults' chance.
    #[arg(long, default_value_t)]
    pub seed: u64,
    /// What goes wrong and what is supported; can be changed at run time with PUT /_sandbox/faults, and is forgotten with DELETE
    /// /_sandbox/state.
    #[command(flatten)]
    pub faults: Faults,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            listen: LISTEN.to_owned(),
            profile: None,
            token: None,
            client_id: None,
            client_secret: None,
            token_lifetime: TOKEN_LIFETIME_SECONDS,
            seed: 0,
            faults: Faults::default(),
        }
    }
}

impl SandboxOptions {
    /// Without faults, on a free port of this machine: what tests start from.
    pub fn on_any_port() -> Self {
        Self { listen: "127.0.0.1:0".to_owned(), ..Self::default() }
    }
}
