//! Sockets that listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel holds while we are busy.
const BACKLOG: i32 = 1024;

/// Why a port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    cause: std::io::Error,
}

/// Listens on an address; without one on all of them, IPv6 and IPv4 alike where the machine has
/// IPv6.
pub(crate) fn bind(address: Option<IpAddr>, port: u16) -> Result<TcpListener, ListenError> {
    let Some(address) = address else {
        let everywhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        return listen(everywhere).or_else(|error| {
            if error.cause.kind() == std::io::ErrorKind::AddrInUse {
                return Err(error);
            }
            bind(Some(Ipv4Addr::UNSPECIFIED.into()), port)
        });
    };
    listen(SocketAddr::new(address, port))
}

fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    socket(address).map_err(|cause| ListenError { address, cause })
}

fn socket(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // The system's default differs; here it means both.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
