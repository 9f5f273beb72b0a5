//! The HTTP client over TLS, with certificates made on the spot, and over HTTP/2, with frames written by hand.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use scim_relay::core::operation::{Operation, Write};
use scim_relay::core::outcome::{NotSent, Outcome, Reply, Unknown};
use scim_relay::core::resource::{ExternalId, ResourceKey, ResourceType, TargetId};
use scim_relay::pipeline::ports::{Target, Transport};
use scim_relay::target::{AuthOptions, HttpTarget, Seen, TargetOptions, TlsOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use url::Url;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    static PROVIDER: Once = Once::new();
    // another test module of this process may have been first
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Authority, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn server_config(authority: &Authority, protocol: &[u8], clients: bool) -> ServerConfig {
    let (certificate, key) = issue(authority, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = if clients {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        ServerConfig::builder()
            .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
    } else {
        ServerConfig::builder().with_no_client_auth()
    };
    let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// What an HTTP/2 server does about a request.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Status 200, no body.
    Answer,
    /// RST_STREAM with this code; the connection goes on.
    Reset(u8),
    /// GOAWAY (no error) with this last stream, then close.
    GoAway(u8),
    /// Close.
    Vanish,
}

struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// HTTP/1.1: every request is a success without a body.
    async fn http1(config: ServerConfig) -> Self {
        Self::start(config, |mut stream, requests| async move {
            let mut seen = Vec::new();
            while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
                seen.push(stream.read_u8().await?);
            }
            requests.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await?;
            stream.shutdown().await
        })
        .await
    }

    /// HTTP/2: the nth request is treated as the nth act says, on whatever connection; the last act goes on forever.
    async fn http2(config: ServerConfig, acts: &'static [Act]) -> Self {
        Self::start(config, |stream, requests| play(stream, acts, requests)).await
    }

    async fn start<F>(
        config: ServerConfig,
        serve: impl Fn(TlsStream<TcpStream>, Arc<AtomicUsize>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                match acceptor.accept(stream).into_fallible().await {
                    Ok(stream) => drop(open.spawn(serve(stream, Arc::clone(&count)))),
                    // reading on keeps the alert from being lost in a reset
                    Err((_, mut stream)) => drop(open.spawn(async move {
                        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ())
                    })),
                }
            }
        });
        Self { address, requests, _tasks: tasks }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    async fn send(&self, tls: TlsOptions) -> Outcome {
        let timeout = Duration::from_secs(20);
        let base_url = Url::parse(&format!("https://{}/", self.address)).unwrap();
        let options = TargetOptions {
            base_url,
            timeout,
            bulk_timeout: timeout,
            auth: AuthOptions::None,
            tls,
            profile: Arc::default(),
        };
        let target = HttpTarget::new(options, Arc::new(|_: Seen| {}), SystemTime::now).unwrap();
        let key = ResourceKey::new(ResourceType::User, ExternalId::new("e-1").unwrap());
        let write = Write::Patch { id: TargetId::new("u1").unwrap(), version: None, body: json!({}) };
        let operation = Operation { key, bulk_id: "b1".to_owned(), write };
        let reply = target.send(&[operation], Transport::Single, Instant::now() + timeout).await;
        let Reply::Each(mut outcomes) = reply else { panic!("{reply:?}") };
        outcomes.remove(0)
    }
}

async fn play(
    mut stream: TlsStream<TcpStream>,
    acts: &[Act],
    requests: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    loop {
        let id = next_request(&mut stream).await?;
        let act = acts[requests.fetch_add(1, Ordering::SeqCst).min(acts.len() - 1)];
        let frame: &[u8] = match act {
            Act::Answer => &[0, 0, 1, 1, 0b101, 0, 0, 0, id, 0x88],
            Act::Reset(code) => &[0, 0, 4, 3, 0, 0, 0, 0, id, 0, 0, 0, code],
            Act::GoAway(last) => &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0],
            Act::Vanish => &[],
        };
        stream.write_all(frame).await?;
        stream.flush().await?;
        if matches!(act, Act::GoAway(_) | Act::Vanish) {
            return stream.shutdown().await;
        }
    }
}

/// Skips to a frame of type HEADERS and returns (the low byte of) its stream.
async fn next_request(stream: &mut TlsStream<TcpStream>) -> std::io::Result<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await?;
        if head[3] == 1 {
            return Ok(head[8]);
        }
    }
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca_pem: Some(authority.pem().into_bytes()), identity_pem: None }
}

fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Answered(answer) => answer.status,
        other => panic!("no answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_named() {
    let authority = authority();
    let server = Server::http1(server_config(&authority, b"http/1.1", false)).await;
    assert_eq!(status(&server.send(trusting(&authority)).await), 204);
    for tls in [TlsOptions::default(), trusting(&self::authority())] {
        let outcome = server.send(tls).await;
        assert!(matches!(outcome, Outcome::NotSent(NotSent::Tls(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_client_shows_its_certificate_and_without_one_nothing_is_sent() {
    let authority = authority();
    let server = Server::http1(server_config(&authority, b"http/1.1", true)).await;
    let (certificate, key) = issue(&authority, "relay", ExtendedKeyUsagePurpose::ClientAuth);
    let identity = format!("{}{}", certificate.pem(), key.serialize_pem());
    let tls = TlsOptions { identity_pem: Some(identity.into()), ..trusting(&authority) };
    assert_eq!(status(&server.send(tls).await), 204);
    let outcome = server.send(trusting(&authority)).await;
    assert!(matches!(outcome, Outcome::NotSent(NotSent::Tls(_))), "{outcome:?}");
}

#[tokio::test]
async fn what_an_http2_server_certainly_did_not_process_is_sent_again() {
    let authority = authority();
    for acts in [&[Act::Reset(7), Act::Answer][..], &[Act::GoAway(0), Act::Answer], &[Act::Answer]] {
        let server = Server::http2(server_config(&authority, b"h2", false), acts).await;
        assert_eq!(status(&server.send(trusting(&authority)).await), 200, "{acts:?}");
        assert_eq!(server.requests(), acts.len(), "{acts:?}");
    }
    let server = Server::http2(server_config(&authority, b"h2", false), &[Act::Reset(7)]).await;
    let outcome = server.send(trusting(&authority)).await;
    assert!(matches!(outcome, Outcome::NotSent(NotSent::Connect(_))), "{outcome:?}");
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn what_an_http2_server_may_have_processed_is_unknown_and_not_sent_again() {
    let authority = authority();
    for act in [&[Act::GoAway(1)][..], &[Act::Vanish], &[Act::Reset(2)]] {
        let server = Server::http2(server_config(&authority, b"h2", false), act).await;
        assert_eq!(server.send(trusting(&authority)).await, Outcome::Unknown(Unknown::Dropped), "{act:?}");
        assert_eq!(server.requests(), 1, "{act:?}");
    }
}
