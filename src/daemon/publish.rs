//! Where what is known of the host is published, by several owners who know nothing of each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::node::status::HostStatus;

/// The one place; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    host: watch::Sender<Arc<HostStatus>>,
    warnings: Arc<Mutex<BTreeMap<Topic, Vec<String>>>>,
}

/// Who warns of what; in the order in which an operator reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// What the configuration leaves open.
    Configuration,
    /// Whether a fence is armed.
    Fence,
    /// The record of the standing.
    Record,
    /// Units that cannot say what they are asked.
    Units,
}

impl Publish {
    /// Nothing is known yet.
    pub(super) fn new() -> (Publish, watch::Receiver<Arc<HostStatus>>) {
        let (host, known) = watch::channel(Arc::new(HostStatus::default()));
        (Publish { host, warnings: Arc::default() }, known)
    }

    /// Publishes the change, if it is one. Warnings have [`Publish::warn`].
    pub(super) fn edit(&self, edit: impl FnOnce(&mut HostStatus)) {
        self.host.send_if_modified(|host| {
            let mut new = HostStatus::clone(host);
            edit(&mut new);
            let differs = new != **host;
            if differs {
                *host = Arc::new(new);
            }
            differs
        });
    }

    /// Publishes these warnings in place of those of before.
    pub(super) fn warn(&self, topic: Topic, warnings: Vec<String>) {
        self.edit_and_warn(topic, warnings, |_| {});
    }

    /// The same together with a change, as one: nobody sees the one without the other.
    pub(super) fn edit_and_warn(
        &self,
        topic: Topic,
        warnings: Vec<String>,
        edit: impl FnOnce(&mut HostStatus),
    ) {
        let mut all = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(topic, warnings);
        let told = all.values().flatten().cloned().collect();
        self.edit(|host| {
            edit(host);
            host.warnings = told;
        });
    }
}
