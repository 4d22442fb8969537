//! How many requests may be under way at kube-apiserver: of all users, and of one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::identity::Identity;

/// The places at kube-apiserver. An HTTP/2 client needs one connection for a hundred requests, we
/// need a hundred.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    shares: Arc<Shares>,
}

/// What each user has, by the name: two issuers that hand out the same one speak of one user.
#[derive(Debug)]
struct Shares {
    most: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// A request's place, up to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_user: Share,
}

#[derive(Debug)]
struct Share {
    shares: Arc<Shares>,
    user: Arc<Identity>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoPlace {
    /// The user has as many as one may.
    OfUser,
    /// All are taken.
    OfAll,
}

impl Places {
    /// One user may have half of them: a client that loses count of its watches stops itself and
    /// nobody else.
    pub(super) fn new(most: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            shares: Arc::new(Shares {
                most: (most / 2).max(1),
                taken: Mutex::default(),
            }),
        }
    }

    pub(super) fn enter(&self, user: &Arc<Identity>) -> Result<Place, NoPlace> {
        let of_user = Share::take(&self.shares, user).ok_or(NoPlace::OfUser)?;
        let of_all = Arc::clone(&self.all).try_acquire_owned();
        Ok(Place {
            _of_all: of_all.map_err(|_| NoPlace::OfAll)?,
            _of_user: of_user,
        })
    }
}

impl Share {
    fn take(shares: &Arc<Shares>, user: &Arc<Identity>) -> Option<Self> {
        let mut taken = shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&user.username) {
            Some(count) if *count >= shares.most => return None,
            Some(count) => *count += 1,
            None => {
                taken.insert(user.username.clone(), 1);
            }
        }
        Some(Self {
            shares: Arc::clone(shares),
            user: Arc::clone(user),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let shares = &self.shares;
        let mut taken = shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.user.username) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.user.username);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_half_of_the_places() {
        let places = Places::new(4);
        let enter = |name: &str| {
            let username = name.to_owned();
            places.enter(&Arc::new(Identity {
                username,
                ..Identity::default()
            }))
        };
        let alice = [enter("alice").unwrap(), enter("alice").unwrap()];
        assert_eq!(enter("alice").unwrap_err(), NoPlace::OfUser);
        let bob = [enter("bob").unwrap(), enter("bob").unwrap()];
        assert_eq!(enter("carol").unwrap_err(), NoPlace::OfAll);
        drop(alice);
        let again = [enter("alice").unwrap(), enter("carol").unwrap()];
        assert_eq!(enter("dave").unwrap_err(), NoPlace::OfAll);
        drop((again, bob));
        assert!(places.shares.taken.lock().unwrap().is_empty());
        assert_eq!(places.all.available_permits(), 4);
    }
}
