//! A line to Redis on which every script call is executed twice, as when a client sends it again because the answer got
//! lost: the first answer is dropped, the second one passes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The line; it ends with this value.
pub struct ResendingLine {
    port: u16,
    server: String,
    resent: Calls,
    _tasks: JoinSet<()>,
}

/// What becomes of the next answer.
enum Answer {
    Passes,
    IsLost,
}

type Awaited = Arc<Mutex<VecDeque<Answer>>>;
/// Calls as they were sent.
type Calls = Arc<Mutex<Vec<Vec<u8>>>>;

impl ResendingLine {
    /// Opens a line to the server at this `host:port`.
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let resent = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, log, address) = (JoinSet::new(), resent.clone(), server.clone());
        tasks.spawn(async move {
            let mut halves = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&address).await.unwrap();
                [&client, &upstream].iter().for_each(|line| line.set_nodelay(true).unwrap());
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = upstream.into_split();
                let awaited = Awaited::default();
                halves.spawn(send(from_client, to_server, awaited.clone(), log.clone()));
                halves.spawn(answer(from_server, to_client, awaited));
            }
        });
        Self { port, server, resent, _tasks: tasks }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// How many calls were executed twice.
    pub fn resent(&self) -> usize {
        self.resent.lock().unwrap().len()
    }

    /// The last call that was executed twice, as it was sent.
    pub fn last(&self) -> Vec<u8> {
        self.resent.lock().unwrap().last().expect("a script was called").clone()
    }

    /// Sends a call once more, late; says what the server answers.
    pub async fn send_again(&self, call: &[u8]) -> String {
        let mut server = TcpStream::connect(&self.server).await.unwrap();
        server.write_all(call).await.unwrap();
        let mut bytes = Vec::new();
        while value_length(&bytes).is_none() {
            assert!(server.read_buf(&mut bytes).await.unwrap() > 0, "no answer");
        }
        String::from_utf8(bytes).unwrap()
    }
}

async fn send(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, awaited: Awaited, resent: Calls) {
    let mut bytes = Vec::new();
    while from.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        let mut out = Vec::new();
        while let Some(length) = value_length(&bytes) {
            let command: Vec<u8> = bytes.drain(..length).collect();
            if is_resent(&command) {
                resent.lock().unwrap().push(command.clone());
                out.extend_from_slice(&command);
                awaited.lock().unwrap().push_back(Answer::IsLost);
            }
            out.extend_from_slice(&command);
            awaited.lock().unwrap().push_back(Answer::Passes);
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, awaited: Awaited) {
    let mut bytes = Vec::new();
    while from.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        let mut out = Vec::new();
        while let Some(length) = value_length(&bytes) {
            let value: Vec<u8> = bytes.drain(..length).collect();
            match awaited.lock().unwrap().pop_front() {
                Some(Answer::Passes) => out.extend_from_slice(&value),
                Some(Answer::IsLost) => {}
                None => panic!("an answer to nothing"),
            }
        }
        if to.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// All scripts but the one that takes: whose answer got lost, finds nothing the second time, and its resources come back
/// when the hold ends.
fn is_resent(command: &[u8]) -> bool {
    let text = String::from_utf8_lossy(command);
    let words: Vec<&str> = text.split("\r\n").skip(2).step_by(2).take(4).collect();
    ["EVAL", "EVALSHA"].contains(&words[0]) && !words.get(3).is_some_and(|key| key.contains("}:due:"))
}

/// How many bytes the first value takes (RESP2 and RESP3); none while it is not complete.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|window| window == b"\r\n")?;
    let head = line + 2;
    let number = || std::str::from_utf8(&bytes[1..line]).unwrap().parse::<i64>().unwrap();
    let length = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => head,
        b'$' | b'!' | b'=' => usize::try_from(number()).map_or(head, |length| head + length + 2),
        b'*' | b'~' | b'>' => values_length(bytes, head, number())?,
        b'%' => values_length(bytes, head, 2 * number())?,
        other => panic!("no RESP value begins with {other}"),
    };
    (bytes.len() >= length).then_some(length)
}

fn values_length(bytes: &[u8], head: usize, count: i64) -> Option<usize> {
    (0..count).try_fold(head, |at, _| Some(at + value_length(bytes.get(at..).filter(|b| !b.is_empty())?)?))
}
