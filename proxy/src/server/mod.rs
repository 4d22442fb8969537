//! The serving port: connections, TLS and HTTP, up to the point where a request is whole.

mod admission;
mod certificate;
mod client_connection;
mod connection;
mod listener;
mod proxy_protocol;
mod tls;

pub(crate) use self::{
    admission::{Admission, Occupied},
    certificate::ServingCertificate,
    connection::Server,
    listener::bind,
    tls::ServerTls,
};
