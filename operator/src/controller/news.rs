//! What happened in a pass, for people. It is told whatever the pass came to: what was done is done,
//! and no later pass would find out about it.

use std::borrow::Cow;

use oidcproxy_crds::OidcProxyStatus;

use super::{Context, Guarded, changes};

/// Something that happened, for an Event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// In one word.
    pub reason: Cow<'static, str>,
    /// What the operator was at.
    pub action: &'static str,
    /// In a sentence.
    pub text: String,
    /// Whether somebody has to do something about it.
    pub warning: bool,
}

impl Note {
    /// Something went as it should.
    pub fn normal(
        reason: impl Into<Cow<'static, str>>,
        action: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            reason: reason.into(),
            action,
            text: text.into(),
            warning: false,
        }
    }

    /// Something did not.
    pub fn warning(
        reason: impl Into<Cow<'static, str>>,
        action: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            warning: true,
            ..Self::normal(reason, action, text)
        }
    }
}

/// All that happened in a pass.
#[derive(Debug, Default)]
pub struct News(Vec<Note>);

impl News {
    /// One more thing.
    pub fn push(&mut self, note: Note) {
        self.0.push(note);
    }

    /// Each `ConfigMap` that somebody had edited, by name.
    pub(super) fn reverted(&mut self, names: &[String]) {
        for name in names {
            let note = if name.ends_with("-kubeconfig") {
                let text = format!(
                    "ConfigMap {name} was edited and is reverted: what it runs, runs on laptops"
                );
                Note::warning("KubeconfigReverted", "Apply", text)
            } else {
                let text = format!("ConfigMap {name} was edited and is reverted");
                Note::warning("TrustBundleReverted", "Apply", text)
            };
            self.push(note);
        }
    }

    /// What the status says now and did not say before.
    pub(super) fn changed(&mut self, before: &OidcProxyStatus, after: &OidcProxyStatus) {
        self.0.extend(changes::between(before, after));
    }

    /// Publishes it.
    pub(super) async fn tell(&self, context: &Context, object: &Guarded) {
        for note in &self.0 {
            let (reason, action, text) = (&*note.reason, note.action, &*note.text);
            if note.warning {
                context.events.warning(object, reason, action, text).await;
            } else {
                context.events.normal(object, reason, action, text).await;
            }
        }
    }
}
