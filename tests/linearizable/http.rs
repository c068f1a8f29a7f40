//! As much of HTTP/1.1 as a client needs that knows whom it talks to: one request at a time over a
//! kept connection, bodies with a length.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// Nothing was sent.
    NotSent,
    /// The request may have arrived.
    Sent,
}

/// An answer.
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// A connection that is made when it is needed.
pub struct Http {
    address: SocketAddr,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    pub fn new(address: SocketAddr, patience: Duration) -> Http {
        Http { address, patience, stream: None }
    }

    /// One request and its answer.
    pub fn ask(&mut self, line: &str, headers: &str, body: &[u8]) -> Result<Response, Failed> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().map_err(|_| Failed::NotSent)?,
        };
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        let answer = stream.get_mut().write_all(&request).and_then(|()| read(&mut stream));
        let answer = answer.map_err(|_| Failed::Sent)?;
        if answer.headers.get("connection").map(String::as_str) != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, self.patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        Ok(BufReader::new(stream))
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Response> {
    let bad = || Error::from(ErrorKind::InvalidData);
    let mut line = || {
        let mut text = String::new();
        stream.read_line(&mut text)?;
        text.strip_suffix("\r\n").map(str::to_owned).ok_or(Error::from(ErrorKind::UnexpectedEof))
    };
    let first = line()?;
    let status = first.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(bad)?;
    let mut headers = BTreeMap::new();
    loop {
        let text = line()?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(bad)?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.ok_or_else(bad)?];
    stream.read_exact(&mut body)?;
    Ok(Response { status, headers, body })
}
