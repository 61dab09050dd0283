//! A WebSocket client without manners: frames are whatever the test makes of them.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// A connection that has been upgraded, or is about to be.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    /// Read and not yet consumed.
    buffer: Vec<u8>,
}

/// A masked client frame: first byte as given (FIN, reserved bits, opcode), then the payload.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(short @ 0..=125) => bytes.push(0x80 | short as u8),
        Ok(medium) => bytes.extend([&[0xfe][..], &medium.to_be_bytes()].concat()),
        Err(_) => bytes.extend([&[0xff][..], &(payload.len() as u64).to_be_bytes()].concat()),
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

impl Raw {
    /// Sends an upgrade request and these bytes right behind it, in one write; reads the 101.
    pub(crate) async fn upgrade(address: SocketAddr, query: &str, behind: &[u8]) -> Self {
        Self::upgrade_on(TcpStream::connect(address).await.unwrap(), query, behind).await
    }

    /// The same on a connection that is there already.
    pub(crate) async fn upgrade_on(mut stream: TcpStream, query: &str, behind: &[u8]) -> Self {
        let address = stream.peer_addr().unwrap();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(&[request.as_bytes(), behind].concat()).await.unwrap();
        let mut raw = Self {
            stream,
            buffer: Vec::new(),
        };
        let end = loop {
            if let Some(at) = raw.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                raw.fill().await,
                "no answer to the upgrade: {:?}",
                String::from_utf8_lossy(&raw.buffer)
            );
        };
        let head: Vec<u8> = raw.buffer.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(
            head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head}"
        );
        raw
    }

    /// A session with the namespace `/` connected.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_on(TcpStream::connect(address).await.unwrap()).await
    }

    /// The same on a connection that is there already.
    pub(crate) async fn connect_on(stream: TcpStream) -> Self {
        let mut raw = Self::upgrade_on(stream, "", &frame(0x81, b"40")).await;
        assert!(raw.text().await.unwrap().starts_with('0'));
        assert!(raw.text().await.unwrap().starts_with("40"));
        raw
    }

    /// Sends bytes. That the server has closed already is no error: the test looks at what it said.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _closed = within("the server to take bytes", self.stream.write_all(bytes)).await;
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        let _closed = self.stream.shutdown().await;
    }

    /// Gives the connection up for whatever is to be done with it; what was read of it and not consumed is lost.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The next text frame of the server; `None` at a close frame or the end.
    pub(crate) async fn text(&mut self) -> Option<String> {
        match self.frame().await? {
            (0x1, payload) => Some(String::from_utf8(payload).unwrap()),
            _ => None,
        }
    }

    /// Reads to the end: the code of the close frame (1005: without code), or 1006 when none came.
    pub(crate) async fn closed(&mut self) -> u16 {
        let mut code = 1006;
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == 0x8 {
                code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
            }
        }
        code
    }

    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, header, length)) = self.header()
                && self.buffer.len() >= header + length
            {
                let payload = self.buffer.drain(..header + length).skip(header).collect();
                return Some((opcode, payload));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Opcode, bytes of the header, bytes of the payload.
    fn header(&self) -> Option<(u8, usize, usize)> {
        let opcode = self.buffer.first()? & 0x0f;
        match *self.buffer.get(1)? {
            126 => Some((opcode, 4, u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?).into())),
            127 => Some((
                opcode,
                10,
                usize::try_from(u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?)).unwrap(),
            )),
            short => Some((opcode, 2, short.into())),
        }
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let read = within("the server to say something or close", self.stream.read_buf(&mut self.buffer)).await;
        read.is_ok_and(|bytes| bytes > 0)
    }
}
