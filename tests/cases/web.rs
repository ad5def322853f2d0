//! A WebSocket peer that speaks raw frames, either side.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::support::{PATIENCE, Received, sealed};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FINAL: u8 = 0x80;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// What a browser asks with.
pub(crate) fn request(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// One frame that came.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

/// The peer.
pub(crate) struct Web {
    pub(crate) stream: TcpStream,
    is_client: bool,
}

impl Web {
    /// A TCP connection to a server, before any handshake.
    pub(crate) fn open(address: &str) -> Self {
        let (_, place) = address.split_once("://").unwrap();
        let place = place.split(['/', '?']).next().unwrap();
        Self::new(TcpStream::connect(place).expect("the server listens"), true)
    }

    pub(crate) fn connect(address: &str) -> Self {
        let mut web = Self::open(address);
        web.send(request("/", "").as_bytes());
        let answer = web.head();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nsec-websocket-accept: "), "{answer}");
        assert!(answer.contains(&derive_accept_key(KEY.as_bytes())), "{answer}");
        assert!(!answer.contains("extensions"), "{answer}");
        web
    }

    /// Waits for a client and takes its request.
    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let mut web = Self::new(listener.accept().unwrap().0, false);
        let request = web.head();
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        web.send(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            )
            .as_bytes(),
        );
        web
    }

    fn new(stream: TcpStream, is_client: bool) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, is_client }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side reads");
    }

    /// A frame as this side has to send it.
    pub(crate) fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        framed(first, payload, self.is_client)
    }

    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let frame = self.frame(first, payload);
        self.send(&frame);
    }

    /// Sends one of our frames as one binary message.
    pub(crate) fn send_text(&mut self, text: impl AsRef<[u8]>) {
        self.send_frame(FINAL | BINARY, &sealed(text));
    }

    /// The next frame; none at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came in time"),
            Err(_) => return None,
        }
        let length = match head[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes(self.exactly())),
            127 => u64::from_be_bytes(self.exactly()),
            length => u64::from(length),
        };
        let masked = head[1] & 0x80 != 0;
        let mask: [u8; 4] = if masked { self.exactly() } else { [0; 4] };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).expect("a whole frame");
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some(Frame { first: head[0], masked, payload })
    }

    fn exactly<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).expect("a whole header");
        bytes
    }

    /// The next message, which has to be one binary frame of the library.
    pub(crate) fn message(&mut self) -> Received {
        let frame = self.receive().expect("the connection lives");
        assert_eq!((frame.first, frame.masked), (FINAL | BINARY, !self.is_client), "{frame:?}");
        Received::read(&frame.payload)
    }

    /// The next message, shown; what a client begins with is passed over, and its HELLO answered.
    pub(crate) fn answer(&mut self) -> String {
        self.message().show()
    }

    /// PROBE on this connection. Since nothing else may come before its answer, it also proves that nothing came.
    pub(crate) fn probe(&mut self) {
        self.send_text(crate::support::m(0, 10, 4711, "null"));
        assert_eq!(self.answer(), "11/4711: null");
    }

    /// Waits for the close frame, and the end behind it: code and reason.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let frame = self.receive().expect("a close frame");
        assert_eq!(frame.first, FINAL | CLOSE, "{frame:?}");
        let (code, reason) = frame.payload.split_first_chunk().expect("a code");
        let closed = (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
        let _ = self.stream.shutdown(Shutdown::Write);
        assert_eq!(self.receive(), None);
        closed
    }

    /// Sends the close frame.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.send_frame(FINAL | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// An HTTP head, up to the empty line.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) => break,
                Err(error) => panic!("{error}: {}", head.escape_ascii()),
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it never closes"),
            _ => String::from_utf8(rest).unwrap(),
        }
    }
}

/// A frame, masked or not.
pub(crate) fn framed(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut out = header(first, payload.len() as u64, masked);
    if masked {
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        out.extend_from_slice(payload);
    }
    out
}

/// The header of a frame whose payload is not there.
pub(crate) fn header(first: u8, length: u64, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match length {
        0..126 => out.push(bit | length as u8),
        126..65_536 => {
            out.push(bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    if masked {
        out.extend_from_slice(&MASK);
    }
    out
}
