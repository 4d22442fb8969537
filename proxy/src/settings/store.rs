//! The settings in use, and how they are exchanged while requests go on.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use oidcproxy_crds::v1alpha1;
use tokio::sync::watch;

use super::{Settings, SettingsError};
use crate::{audit::AuditBackends, metrics::Metrics};

/// The settings in use.
#[derive(Debug)]
pub(crate) struct SettingsStore {
    current: ArcSwapOption<Settings>,
    error: ArcSwapOption<String>,
    /// One exchange at a time; requests never wait for it.
    exchange: Mutex<()>,
    exchanged: watch::Sender<()>,
    /// Whether every issuer of the first settings has been tried.
    warm: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    audit: Arc<AuditBackends>,
}

impl SettingsStore {
    pub(crate) fn new(metrics: Arc<Metrics>, audit: Arc<AuditBackends>) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwapOption::empty(),
            error: ArcSwapOption::empty(),
            exchange: Mutex::new(()),
            exchanged: watch::Sender::new(()),
            warm: watch::Sender::new(false),
            metrics,
            audit,
        })
    }

    /// One request works with one snapshot from its first step to its last.
    pub(crate) fn current(&self) -> Option<Arc<Settings>> {
        self.current.load_full()
    }

    /// Why the newest settings are not in use.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.load().as_deref().cloned()
    }

    pub(crate) fn is_warm(&self) -> bool {
        self.current.load().is_some() && *self.warm.borrow()
    }

    pub(crate) fn exchanges(&self) -> watch::Receiver<()> {
        self.exchanged.subscribe()
    }

    /// Puts settings to use. The last good ones go on when these are not.
    pub(crate) fn publish(self: &Arc<Self>, wire: v1alpha1::Settings) -> Result<(), SettingsError> {
        let _one_at_a_time = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.current();
        if previous
            .as_ref()
            .is_some_and(|known| known.revision == wire.revision)
        {
            self.error.store(None);
            return Ok(());
        }
        let next = match Settings::build(wire, previous.as_deref(), &self.metrics, &self.audit) {
            Ok(next) => Arc::new(next),
            Err(error) => {
                self.refuse(&error);
                return Err(error);
            }
        };
        tracing::info!(
            revision = next.revision,
            issuers = next.authenticator.issuers().len(),
            "settings are in use"
        );
        for issuer in next.authenticator.issuers() {
            issuer.put_to_use();
        }
        self.current.store(Some(Arc::clone(&next)));
        self.error.store(None);
        if let Some(previous) = previous {
            withdraw_dropped_issuers(&previous, &next);
        }
        self.warm_up(next);
        self.exchanged.send_replace(());
        Ok(())
    }

    /// Notes why published settings are not taken; who published them says it.
    pub(crate) fn refuse(&self, error: &SettingsError) {
        self.metrics.settings_error();
        self.error.store(Some(Arc::new(error.to_string())));
    }

    /// Nobody is let in any more: the resource behind the settings is gone.
    pub(crate) fn withdraw(&self) {
        let _one_at_a_time = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(previous) = self.current.swap(None) {
            tracing::warn!("the settings are withdrawn: every request is refused");
            for issuer in previous.authenticator.issuers() {
                issuer.withdraw();
            }
            if let Some(anonymous) = previous.authenticator.anonymous() {
                anonymous.withdrawn().cancel();
            }
            if let Some(passthrough) = &previous.passthrough {
                passthrough.withdrawn.cancel();
            }
        }
        self.exchanged.send_replace(());
    }

    fn warm_up(self: &Arc<Self>, settings: Arc<Settings>) {
        if *self.warm.borrow() {
            return;
        }
        let store = Arc::clone(self);
        tokio::spawn(async move {
            settings.issuers_tried().await;
            store.warm.send_replace(true);
        });
    }
}

/// An issuer that only changed goes on: its streams were opened by rules that were good then.
fn withdraw_dropped_issuers(previous: &Settings, next: &Settings) {
    if let Some(passthrough) = &previous.passthrough
        && next.passthrough.is_none()
    {
        passthrough.withdrawn.cancel();
    }
    if let Some(anonymous) = previous.authenticator.anonymous()
        && next.authenticator.anonymous().is_none()
    {
        anonymous.withdrawn().cancel();
    }
    for issuer in previous.authenticator.issuers() {
        let mut staying = next.authenticator.issuers().iter();
        if !staying.any(|staying| staying.url() == issuer.url()) {
            tracing::info!(
                issuer = issuer.name(),
                "the issuer is not accepted any more"
            );
            issuer.withdraw();
        }
    }
}
