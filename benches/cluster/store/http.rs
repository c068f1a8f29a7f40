//! The smallest HTTP/1.1 client that keeps a connection alive, and the smallest server: the floor
//! of whoever speaks HTTP.
//!
//! Understands answers with `Content-Length`, or with chunks that end in one read; both sides of
//! the comparison write nothing else.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The argument that makes this program the server: `--http-floor`.
pub const CHILD_FLAG: &str = "--http-floor";

/// Longest answer that is read.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// A request, without its connection.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `PUT`, `POST`.
    pub method: &'static str,
    /// With the leading slash.
    pub path: String,
    /// May be empty.
    pub body: Vec<u8>,
}

impl Request {
    /// What goes over the wire.
    fn bytes(&self) -> Vec<u8> {
        let Request { method, path, body } = self;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }
}

/// An answer.
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// As it came, chunk sizes included if there are any.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether it is one of the good ones.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, read: Vec::new() })
    }

    /// Sends `request` and waits for its answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer> {
        self.stream.write_all(&request.bytes()).await?;
        loop {
            if let Some((answer, length)) = parse(&self.read)? {
                self.read.drain(..length);
                return Ok(answer);
            }
            if self.read.len() > ANSWER_MAX_BYTES {
                bail!("an answer of more than {ANSWER_MAX_BYTES} bytes");
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                bail!("the connection was closed");
            }
        }
    }
}

/// One question on a connection of its own.
pub async fn ask(address: SocketAddr, request: &Request) -> Result<Answer> {
    Connection::open(address).await?.ask(request).await
}

/// The answer at the start of `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head]).context("a head that is not text")?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("not an answer: {text}"))?;
    let body = &bytes[head + 4..];
    let length = if status == 204 { Some(0) } else { content_length(text) };
    let length = match length {
        Some(length) => length,
        None => match find(body, b"0\r\n\r\n") {
            Some(end) => end + 5,
            None => return Ok(None),
        },
    };
    let Some(body) = body.get(..length) else { return Ok(None) };
    Ok(Some((Answer { status, body: body.to_vec() }, head + 4 + length)))
}

fn content_length(head: &str) -> Option<usize> {
    let of = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(of)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The main function of the server: says its address on standard output, and answers every request
/// that arrives in one read with 256 bytes, until its parent ends it.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(answer(stream));
        }
    })
}

async fn answer(mut stream: TcpStream) {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 256\r\n\r\n".to_vec();
    answer.extend([b'v'; 256]);
    let mut bytes = vec![0; 4096];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
