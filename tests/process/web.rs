//! A small HTTP client: one connection, bytes in and bytes out, nothing hidden.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::support::DEADLINE;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The code of a refusal by `/v1`.
    pub fn code(&self) -> String {
        let json = self.json();
        json["error"]["code"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
    }
}

/// A connection that is kept.
pub struct Web {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Web {
    pub fn connect(address: &str) -> Web {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Web { stream, read: Vec::new() }
    }

    /// Sends `METHOD PATH` with headers and a body, and reads the answer.
    pub fn ask(&mut self, what: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut text = format!("{what} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for header in headers {
            text += &format!("{header}\r\n");
        }
        if !body.is_empty() || what.starts_with('P') {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = format!("{text}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes);
        let answer = self.answer(what.starts_with("HEAD "));
        answer.unwrap_or_else(|| panic!("closed without an answer to {what}"))
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], b"")
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        let what = format!("POST {path}");
        self.ask(&what, &["Content-Type: application/json"], body.as_bytes())
    }

    /// Sends bytes; a peer that has closed meanwhile is no error.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one answer; `None`: the connection was closed before one.
    pub fn answer(&mut self, of_head: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        if status == 100 {
            return self.answer(of_head);
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut length = length.map_or(0, |(_, value)| value.parse().unwrap());
        if of_head || status == 304 {
            length = 0;
        }
        while self.read.len() < length {
            self.more()?;
        }
        let body = self.read.drain(..length).collect();
        Some(Answer { status, headers, body })
    }

    /// Whether the agent has closed the connection, without anything more.
    pub fn is_closed(&mut self) -> bool {
        self.read.is_empty() && self.more().is_none()
    }

    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => {
                self.read.extend_from_slice(&buffer[..read]);
                Some(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer within {DEADLINE:?}: {error}"),
        }
    }
}
