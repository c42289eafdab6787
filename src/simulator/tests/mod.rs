//! The simulator's guarantees, tested over a real socket. The client is minimal, so that no library
//! hides what is sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_wrap)]

mod access;
mod change;
mod lists;
mod shapes;

use super::{Options, Server, Settings, Workspace};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A received reply.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn promised_length(&self) -> usize {
        let line = self.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        line.unwrap().parse().unwrap()
    }
}

const CREDENTIALS: &str = "X-Api-Key: demo-key\r\nX-Api-Password: demo-password\r\n";

fn ask(server: &Server, method: &str, target: &str, headers: &str) -> Reply {
    let address = server.base_url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A truncated reply ends in an error, after the part that was sent.
    let _ = stream.read_to_end(&mut bytes);
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    Reply { status, head, body: bytes[split + 4..].to_vec() }
}

fn get(server: &Server, target: &str) -> Reply {
    ask(server, "GET", target, CREDENTIALS)
}

fn ids(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let calls = json["calls"].as_array().unwrap();
    calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect()
}

fn small() -> Options {
    Options { calls: 120, lone_surrogates: 0.0, ..Options::default() }
}

fn serve(options: &Options, settings: Settings) -> (Workspace, Server) {
    let workspace = Workspace::generate(options);
    let server = Server::start(workspace.clone(), settings).unwrap();
    (workspace, server)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
