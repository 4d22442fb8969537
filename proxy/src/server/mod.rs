//! The serving port: connections, TLS and HTTP, up to the point where a request is whole.

mod certificate;
mod client_connection;
mod connection;
mod listener;
mod tls;

pub(crate) use self::{
    certificate::{CertificateFiles, ServingCertificate},
    connection::Server,
    listener::bind,
    tls::ServerTls,
};
