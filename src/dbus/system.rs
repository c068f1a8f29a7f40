//! The system bus: the objects of the agent under the name `org.raftctl.Agent1.NODE`, for everybody
//! on the host to read and for those who may to change.
//!
//! Guarantees that the name is only there with all objects behind it, that the bus may be restarted
//! or missing for as long as it likes, and that no client reaches the driver other than through the
//! bounded requests of the handle. Runs on a thread of its own, beside the private socket, so that
//! a crowd here is not felt there. Decides nothing; [`super::access`] does.

use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};
use zbus::address::Transport;
use zbus::address::transport::UnixSocket;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;
use zbus::{Address, Connection};

use super::access::Access;
use super::announce::Announcer;
use super::authority::Authority;
use super::objects::{self, Served};
use super::socket::{BoundedSocket, Bounds, Places};
use crate::core::NodeName;
use crate::limits;

/// What every name of an agent on the bus starts with.
const NAME_PREFIX: &str = "org.raftctl.Agent1";

/// The name of the agent of `node` on the bus. The grammar of nodes is that of an element of a bus
/// name: no digit first, and nothing but letters, digits, `-` and `_`.
pub fn bus_name(node: &NodeName) -> String {
    format!("{NAME_PREFIX}.{node}")
}

/// Where and as what the objects are served.
pub struct SystemBus {
    address: Address,
    name: String,
    group: Option<u32>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cannot {what}: nothing within {} ms", limits::SYSTEM_BUS_TIMEOUT.as_millis())]
    Late { what: &'static str },
    #[error("cannot {what}")]
    Refused {
        what: &'static str,
        #[source]
        source: zbus::Error,
    },
    #[error("cannot connect to it")]
    Connect(#[source] std::io::Error),
    #[error("its address is not that of a socket in the file system")]
    Address,
    #[error("it was restarted while it was connected")]
    OtherRun,
    #[error("it closed the connection")]
    Closed,
}

impl SystemBus {
    /// For the agent of `node`: on the bus at `DBUS_SYSTEM_BUS_ADDRESS`, or the well-known socket.
    /// Members of `group` may do everything, see [`super::peer::administrators`].
    pub fn new(node: &NodeName, group: Option<u32>) -> zbus::Result<SystemBus> {
        Ok(SystemBus::at(Address::system()?, node, group))
    }

    /// The same, on the bus at `address`.
    pub fn at(address: Address, node: &NodeName, group: Option<u32>) -> SystemBus {
        SystemBus { address, name: bus_name(node), group }
    }

    /// Serves `served`, until this future is dropped.
    pub async fn serve(self, served: Served) {
        let mut pause = limits::SYSTEM_BUS_RECONNECT_MIN;
        let mut told = false;
        loop {
            let began = Instant::now();
            let lost = self.live(&served, &mut told).await;
            let lived = began.elapsed();
            if lived > limits::SYSTEM_BUS_RECONNECT_MAX {
                (pause, told) = (limits::SYSTEM_BUS_RECONNECT_MIN, false);
            }
            if !std::mem::replace(&mut told, true) {
                let error: &dyn std::error::Error = &lost;
                tracing::warn!(error, "no connection to the system bus, trying again, ignoring");
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(limits::SYSTEM_BUS_RECONNECT_MAX);
        }
    }

    /// One connection from its beginning to its end.
    async fn live(&self, served: &Served, told: &mut bool) -> Lost {
        let (connection, asking, announcer) = match self.connect(served).await {
            Ok(connected) => connected,
            Err(lost) => return lost,
        };
        tracing::info!(name = self.name, "on the system bus");
        *told = false;
        // The connection may outlive the node's announcements: calls are answered with `Stopping`.
        let announce = async {
            if announcer.run(&connection).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = connection.closed() => {}
            () = asking.closed() => {}
            () = announce => {}
        }
        Lost::Closed
    }

    /// The connection that serves, with its name, and the one that asks about callers.
    async fn connect(&self, served: &Served) -> Result<(Connection, Connection, Announcer), Lost> {
        let asking = Builder::address(self.address.clone()).build();
        let asking = within("ask on it", asking).await?;
        let stream = self.stream().await?;
        let socket = BoundedSocket::new(stream, Vec::new(), Bounds::SYSTEM, Places::default());
        let access = Access::Bus(Arc::new(Authority::new(asking.clone(), self.group)));
        let serving = objects::build(Builder::socket(socket), served.clone(), access);
        let (serving, announcer) = within("serve on it", serving).await?;
        // A name of a client means the same client only on the same run of the bus.
        if serving.server_guid() != asking.server_guid() {
            return Err(Lost::OtherRun);
        }
        // LAST, when all objects are there: whoever sees the name finds them.
        let flags = RequestNameFlags::DO_NOT_QUEUE;
        let named = serving.request_name_with_flags(self.name.as_str(), flags);
        within("own the name on it", named).await?;
        Ok((serving, asking, announcer))
    }

    async fn stream(&self) -> Result<UnixStream, Lost> {
        let Transport::Unix(unix) = self.address.transport() else { return Err(Lost::Address) };
        let UnixSocket::File(path) = unix.path() else { return Err(Lost::Address) };
        let late = |_| Lost::Late { what: "connect to it" };
        let connected = timeout(limits::SYSTEM_BUS_TIMEOUT, UnixStream::connect(path)).await;
        connected.map_err(late)?.map_err(Lost::Connect)
    }
}

async fn within<T>(
    what: &'static str,
    future: impl Future<Output = zbus::Result<T>>,
) -> Result<T, Lost> {
    let done = timeout(limits::SYSTEM_BUS_TIMEOUT, future).await;
    done.map_err(|_| Lost::Late { what })?.map_err(|source| Lost::Refused { what, source })
}
