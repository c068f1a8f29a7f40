//! Starts the fence unit while it is ordered, beside whatever else is going on: a stop that hangs
//! in the service manager must not keep it waiting.

use tokio::sync::watch;

use super::manager::{Mode, SystemdManager};
use super::names;
use crate::core::story::tell;
use crate::core::{NodeName, Token};
use crate::limits;

/// Starts the fence unit whenever it is ordered, beside whatever else is going on.
pub(super) struct Fencer {
    node: NodeName,
    unit: String,
    manager: SystemdManager,
}

impl Fencer {
    pub(super) fn new(node: &NodeName, manager: SystemdManager) -> Fencer {
        Fencer { node: node.clone(), unit: names::fence_service(node), manager }
    }

    /// Runs until nobody can give orders any more.
    pub(super) async fn run(self, mut orders: watch::Receiver<Option<Token>>) {
        loop {
            let token = *orders.borrow_and_update();
            tokio::select! {
                biased;
                changed = orders.changed() => if changed.is_err() { return },
                () = self.fence(token) => if orders.changed().await.is_err() { return },
            }
        }
    }

    async fn fence(&self, token: Option<Token>) {
        let Some(token) = token else { return };
        let (node, unit) = (&self.node, &self.unit);
        let mut complained = false;
        loop {
            match self.manager.start_unit(unit, Mode::Replace).await {
                Ok(_) => {
                    tell!(
                        FenceStarted, unit = unit.as_str(), token = token.0;
                        "The members take too long to stop: started {unit}, which kills them."
                    );
                    return;
                }
                Err(error) if !complained => {
                    tracing::error!(%node, "cannot start {unit}, trying again: {error}");
                    complained = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(limits::HOST_POLL).await;
        }
    }
}
