//! What a request says of itself, before anybody is asked about it.

mod credentials;
mod info;
mod target;
mod upgrade;

pub(crate) use self::{
    credentials::{Credentials, strip_subprotocol_tokens},
    info::RequestInfo,
    target::check_target,
    upgrade::{Upgrade, UpgradeProtocol},
};
