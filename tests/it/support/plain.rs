//! A client as plain as can be, so that no library hides what the API says.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use clari_lake::internals::simulator::Settings;
use serde_json::Value;

/// The body of the reply to a GET.
pub(crate) fn get(base_url: &str, target: &str) -> Value {
    let address = base_url.strip_prefix("http://").unwrap();
    let Settings { api_key, api_password, .. } = Settings::default();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         X-Api-Key: {api_key}\r\nX-Api-Password: {api_password}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{target}: {head}");
    serde_json::from_str(body).unwrap()
}
