//! The interface `org.freedesktop.DBus.ObjectManager` of the root object: the members of the
//! cluster.
//!
//! Ours rather than the one of zbus, which also lists the empty object above the members, and says
//! that one was added before the property `Members` has changed.

use zbus::ObjectPath;
use zbus::object_server::SignalEmitter;

use super::member::{self, Interfaces, Managed};
use crate::node::handle::NodeHandle;

/// The object manager of one connection.
pub(super) struct ObjectManager {
    handle: NodeHandle,
}

impl ObjectManager {
    pub(super) fn new(handle: NodeHandle) -> ObjectManager {
        ObjectManager { handle }
    }
}

#[zbus::interface(name = "org.freedesktop.DBus.ObjectManager", introspection_docs = false)]
impl ObjectManager {
    /// All objects below the root object, with their properties.
    #[zbus(out_args("objects"))]
    fn get_managed_objects(&self) -> Managed {
        member::managed(&self.handle.status())
    }

    /// There is one more.
    #[zbus(signal, name = "InterfacesAdded")]
    pub(super) async fn signal_added(
        emitter: &SignalEmitter<'_>,
        object: ObjectPath<'_>,
        interfaces: Interfaces,
    ) -> zbus::Result<()>;

    /// There is one less.
    #[zbus(signal, name = "InterfacesRemoved")]
    pub(super) async fn signal_removed(
        emitter: &SignalEmitter<'_>,
        object: ObjectPath<'_>,
        interfaces: &[&str],
    ) -> zbus::Result<()>;
}
