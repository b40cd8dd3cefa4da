//! Connections: accepted, handshaken aside, handed to tonic with the identity of their peer.
//!
//! A handshake never stands in the way of the next connection; it has a time limit, and their number is bounded.

use palisade_identity::Peer;
use rustls::ServerConfig;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

/// A handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes under way at once; further connections wait in the kernel's backlog.
const HANDSHAKES: usize = 512;
/// Connections that wait for tonic.
const ACCEPTED: usize = 64;
/// Pause after a failure to accept (out of file descriptors), so that it is not tried in a circle.
const BREATHER: Duration = Duration::from_millis(50);

/// Who is at the other end, in the extensions of each request.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Whom the client certificate names; absent where none is asked for.
    pub peer: Option<Arc<Peer>>,
    /// From where.
    pub address: SocketAddr,
}

/// An established connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    remote: Remote,
}

/// Connections, as they come.
pub type Incoming = ReceiverStream<io::Result<Connection>>;

/// Accepts for as long as anybody takes connections from the stream.
pub fn accept(listener: TcpListener, tls: ServerConfig) -> Incoming {
    let (sender, receiver) = mpsc::channel(ACCEPTED);
    tokio::spawn(accept_all(
        listener,
        TlsAcceptor::from(Arc::new(tls)),
        sender,
    ));
    ReceiverStream::new(receiver)
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let limit = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&limit).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            let shaken = timeout(HANDSHAKE, handshake(&acceptor, stream, address)).await;
            drop(permit);
            match shaken {
                Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                Ok(Err(error)) => debug!(%address, %error, "handshake failed"),
                Err(_) => debug!(%address, "handshake timed out"),
            }
        });
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<Connection> {
    // A transaction is a few small messages: none may wait for the other's acknowledgement.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let leaf = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first);
    let peer = leaf
        .map(|leaf| Peer::from_der(leaf))
        .transpose()
        .map_err(io::Error::other)?
        .map(Arc::new);
    Ok(Connection {
        stream,
        remote: Remote { peer, address },
    })
}

// === impl Connection ===

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        self.remote.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
