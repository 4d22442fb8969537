//! A client that keeps its connection, as controllers do: `kubectl proxy`, whose requests share client-go's pool.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use oidcproxy_tests::jose::random_hex;

use crate::{
    client::{Client, Running},
    suite::Suite,
    user,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// The protocol that it speaks.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// One connection for all requests, which the server ends with GOAWAY.
    Http2,
    /// One connection for requests that follow each other.
    Http1,
}

/// The running client of a user.
#[derive(Debug)]
pub struct Kept {
    _program: Running,
    port: u16,
    user: &'static str,
    token: PathBuf,
    path: String,
}

impl Kept {
    /// A user through the proxy of this kubeconfig, who lists the `ConfigMaps` of a namespace.
    pub fn start(
        suite: &Suite,
        user: &'static str,
        kubeconfig: &Path,
        protocol: Protocol,
        namespace: &str,
    ) -> Self {
        let name = format!("kept-{}", random_hex(4));
        let own = suite.directory().join(&name);
        std::fs::copy(kubeconfig, &own).unwrap();
        let token = own.with_extension("token");
        std::fs::write(&token, user::token(user)).unwrap();
        let mut client = Client::new(suite.environment.get("KUBECTL"), &own);
        let file = token.display().to_string();
        client.ok(&["config", "set", "users.kept.tokenFile", &file]);
        client.ok(&["config", "set-context", "--current", "--user=kept"]);
        if matches!(protocol, Protocol::Http1) {
            client.variables.push(("DISABLE_HTTP2", "true"));
        }
        let program = client.start(&["proxy", "--port=0"]);
        let said = program.until_prints("Starting to serve on 127.0.0.1:", PATIENCE);
        let port = said
            .trim()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        Self {
            _program: program,
            port: port.unwrap_or_else(|| panic!("{said}")),
            user,
            token,
            path: format!("/api/v1/namespaces/{namespace}/configmaps?limit=1"),
        }
    }

    /// One request; what went wrong, if something did.
    pub fn request(&self) -> Result<(), String> {
        // client-go reads the file each minute, and tokens live for longer.
        std::fs::write(&self.token, user::token(self.user)).map_err(|error| error.to_string())?;
        let answer = self.ask().map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200") {
            Ok(())
        } else {
            Err(answer)
        }
    }

    fn ask(&self) -> std::io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let path = &self.path;
        write!(socket, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
