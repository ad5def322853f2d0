//! TLS, as a transport (protocol.md section 5).
//!
//! A client speaks it on `tls://`. A listener takes it where it has a certificate, told by the first byte: see
//! `transport/upgrade.rs`.

mod client;
mod line;
mod pem;
mod reason;
mod server;

pub use client::ClientTls;
pub(crate) use client::Connector;
pub use server::ServerTls;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::transport::upgrade::{AcceptTls, Raw};
    use crate::transport::{Connected, Io, Stream};

    /// Bytes that a pipe of the test holds.
    const PIPE: usize = 16 * 1024;

    /// Both ends of a line, the client's first.
    async fn line() -> [Box<dyn Stream>; 2] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let server = ServerTls::from_pem(made.cert.pem(), made.signing_key.serialize_pem()).unwrap();
        let client = ClientTls::new().ca_pem(made.cert.pem()).unwrap().server_name("localhost").unwrap();
        let (ours, theirs) = duplex(PIPE);
        let raw = Raw::new(theirs, "tls://client".into());
        let (client, server) = tokio::join!(client.over(ours), server.accept(raw));
        let Connected { io: Io::Stream(client), .. } = client.unwrap() else {
            panic!("the handshake is done")
        };
        [client, server.unwrap().stream]
    }

    /// Writes as much as the line takes.
    async fn fill(line: &mut dyn Stream) -> usize {
        let bytes = [7; 4096];
        let mut written = 0;
        poll_fn(|cx| {
            loop {
                match Pin::new(&mut *line).poll_write(cx, &bytes) {
                    Poll::Ready(taken) => written += taken.unwrap(),
                    Poll::Pending => return Poll::Ready(()),
                }
                assert!(written < 10 << 20, "the line takes everything");
            }
        })
        .await;
        written
    }

    #[tokio::test]
    async fn a_line_that_nobody_reads_takes_little_and_loses_nothing() {
        for client_writes in [true, false] {
            let [client, server] = line().await;
            let [mut writer, mut reader] = if client_writes { [client, server] } else { [server, client] };
            let written = fill(&mut writer).await;
            assert!(written < PIPE + 128 * 1024, "{written} bytes are held");
            let read = async {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).await.unwrap();
                read.len()
            };
            let (read, ended) = tokio::join!(read, writer.shutdown());
            ended.unwrap();
            assert_eq!(read, written);
        }
    }
}
