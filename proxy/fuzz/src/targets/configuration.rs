//! `AuthenticationConfiguration` files.

use oidc_proxy::internals;

pub(crate) fn run(input: &str) {
    if let Err(message) = internals::read_authentication_configuration(input) {
        assert!(!message.is_empty(), "a refusal says why");
        assert!(!message.contains('\n'), "one line: {message:?}");
    }
}
