//! The host as the authority sees it: orders in, reports out.
//!
//! [`HostHandle::order`] is called by the driver and never waits: the dead-man is set and the gate
//! is closed before it returns, everything else is done by a task that speaks with the service
//! manager. A newer order makes an older one obsolete, in whatever state that one is.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use super::bus::BusAddress;
use super::cgroup::CGROUP_ROOT;
use super::deadman::DeadMan;
use super::fence::Fencer;
use super::gate::Gate;
use super::manager::SystemdManager;
use super::names;
use super::task::{HostTask, Order as TaskOrder};
use crate::core::authority::{Order, Report};
use crate::core::{NodeName, Token};
use crate::limits;

/// What the host needs to know.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// The node whose units these are.
    pub node: NodeName,
    /// Has the gate; emptied by the service manager whenever the agent stops.
    pub runtime_directory: PathBuf,
    /// Where the service manager is reached.
    pub bus: BusAddress,
    /// Where control groups are mounted.
    pub cgroup_root: PathBuf,
}

impl HostSettings {
    /// The settings of a real host.
    pub fn new(node: NodeName, runtime_directory: PathBuf, bus: BusAddress) -> HostSettings {
        HostSettings { node, runtime_directory, bus, cgroup_root: PathBuf::from(CGROUP_ROOT) }
    }
}

/// Hands orders to the host. When it is dropped, the host's task ends and leaves everything as it
/// is.
#[derive(Debug)]
pub struct HostHandle {
    node: NodeName,
    dead_man: Mutex<DeadMan>,
    gate: Arc<Gate>,
    orders: watch::Sender<Option<TaskOrder>>,
    fence: watch::Sender<Option<Token>>,
    manager: SystemdManager,
}

/// Starts the host's tasks; must be called inside a runtime, and waits for nothing. The gate is
/// closed when this returns.
pub fn start(settings: HostSettings) -> io::Result<(HostHandle, mpsc::Receiver<Report>)> {
    let HostSettings { node, runtime_directory, bus, cgroup_root } = settings;
    let gate = Arc::new(Gate::new(&runtime_directory)?);
    let dead_man = Mutex::new(DeadMan::new()?);
    let manager = SystemdManager::start(bus, names::leader_target(&node));
    let (orders, ordered) = watch::channel(None);
    let (fence, fenced) = watch::channel(None);
    let (reports, reported) = mpsc::channel(limits::HOST_REPORTS);
    let task = HostTask::new(&node, Arc::clone(&gate), manager.clone(), cgroup_root, reports);
    tokio::spawn(task.run(ordered));
    tokio::spawn(Fencer::new(&node, manager.clone()).run(fenced));
    Ok((HostHandle { node, dead_man, gate, orders, fence, manager }, reported))
}

impl HostHandle {
    /// Carries out `order`, or hands it to the task. Takes some microseconds.
    pub fn order(&self, order: Order) {
        match order {
            Order::ArmDeadMan { at } => self.dead_man().arm(at),
            Order::DisarmDeadMan => self.dead_man().disarm(),
            Order::Start { number, token } => {
                self.gate.ordered_start(number);
                self.fence.send_replace(None);
                self.orders.send_replace(Some(TaskOrder::Start { number, token }));
            }
            Order::Stop { number } => {
                if let Err(error) = self.gate.ordered_stop(number) {
                    let (node, path) = (&self.node, self.gate.path());
                    tracing::error!(%node, "cannot remove {}: {error}", path.display());
                }
                self.orders.send_replace(Some(TaskOrder::Stop { number }));
            }
            Order::Fence { token } => {
                self.fence.send_replace(Some(token));
            }
            Order::FenceAt { at } => {
                if let Err(error) = self.gate.fence_at(at) {
                    let node = &self.node;
                    tracing::warn!(%node, "cannot keep the time of the fence: {error}, ignoring");
                }
            }
        }
    }

    /// The service manager, for the surfaces that run units of their own.
    pub fn manager(&self) -> &SystemdManager {
        &self.manager
    }

    fn dead_man(&self) -> std::sync::MutexGuard<'_, DeadMan> {
        // The timer is the kernel's: there is no state that could be half written.
        self.dead_man.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
