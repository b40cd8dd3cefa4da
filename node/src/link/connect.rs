//! From a server's name to an HTTP/2 channel over TLS: resolve, connect, shake hands, each with a time limit.

use crate::arguments::Server;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

/// For each of: resolving, one TCP connection, the TLS handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or the resolver failed.
    #[error("resolve `{server}`")]
    Resolve {
        /// The server.
        server: Server,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address took a connection; the last one's error.
    #[error("connect to {address}")]
    Tcp {
        /// Tried last.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The host part is neither a DNS name nor an address.
    #[error("`{0}` is not a name that a certificate can have")]
    Name(String),
    /// The certificate was refused, by us or by the server, or the handshake took too long.
    #[error("TLS handshake with {address}")]
    Tls {
        /// The server's.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// HTTP/2 did not come about.
    #[error("open an HTTP/2 connection")]
    Http(#[from] tonic::transport::Error),
}

/// The server's addresses, sorted. An address needs no resolver.
///
/// # Errors
/// [`ConnectError::Resolve`].
pub async fn resolve(server: &Server) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    let lookup = tokio::net::lookup_host((server.host.as_str(), server.port));
    let failed = |source| ConnectError::Resolve {
        server: server.clone(),
        source,
    };
    let found = timeout(PATIENCE, lookup)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)?;
    let mut addresses: Vec<_> = found.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(failed(io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

/// A channel over one connection; when that ends, the channel has ended.
///
/// # Errors
/// All but [`ConnectError::Resolve`].
pub async fn connect(
    server: &Server,
    addresses: &[SocketAddr],
    tls: ClientConfig,
) -> Result<Channel, ConnectError> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| ConnectError::Name(server.host.clone()))?;
    let (address, tcp) = open(server, addresses).await?;
    let handshake = TlsConnector::from(Arc::new(tls)).connect(name, tcp);
    let stream = timeout(PATIENCE, handshake)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| ConnectError::Tls { address, source })?;
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        // The connection there is, once: whoever wants another resolves and shakes hands anew.
        let taken: Result<TokioIo<TlsStream<TcpStream>>, io::Error> = stream
            .take()
            .map(TokioIo::new)
            .ok_or_else(|| io::ErrorKind::ConnectionReset.into());
        std::future::ready(taken)
    });
    // The scheme says nothing: the connector brings TLS of its own.
    let endpoint = Endpoint::from_static("http://palisade").buffer_size(16);
    Ok(endpoint.connect_with_connector(connector).await?)
}

async fn open(
    server: &Server,
    addresses: &[SocketAddr],
) -> Result<(SocketAddr, TcpStream), ConnectError> {
    let mut last = ConnectError::Resolve {
        server: server.clone(),
        source: io::ErrorKind::NotFound.into(),
    };
    for address in addresses {
        let tcp = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
        match tcp {
            Ok(tcp) => return Ok((*address, tcp)),
            Err(source) => {
                last = ConnectError::Tcp {
                    address: *address,
                    source,
                };
            }
        }
    }
    Err(last)
}
