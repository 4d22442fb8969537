//! Which connections there is room for.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedSemaphorePermit;

use crate::{metrics::Guard, request::ClientNetwork};

/// The connections that are open, by the address of their client.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<HashMap<ClientNetwork, usize>>);

/// One connection's place, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    client: ClientNetwork,
}

/// What a connection takes up for as long as anybody uses it: the server, then whoever goes on with
/// the stream that it has become. Requests carry it.
#[derive(Clone, Debug)]
pub(crate) struct Occupied {
    _all: Arc<(OwnedSemaphorePermit, Guard, Option<Place>)>,
}

impl Occupied {
    /// A place of all, in the metrics, and of its address unless that is a trusted proxy's.
    pub(super) fn new(permit: OwnedSemaphorePermit, counted: Guard, place: Option<Place>) -> Self {
        Self {
            _all: Arc::new((permit, counted, place)),
        }
    }
}

impl Admission {
    /// `None` when an address has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Place> {
        let client = ClientNetwork::from(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            admission: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self
            .admission
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share() {
        let admission = Arc::new(Admission::default());
        let enter = |address: &str| admission.enter(address.parse().unwrap(), 2);
        let places = [enter("192.0.2.1"), enter("192.0.2.1")];
        assert!(places.iter().all(Option::is_some));
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(places);
        assert!(enter("192.0.2.1").is_some());
        let same = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(same);
        assert!(admission.0.lock().unwrap().is_empty());
    }
}
