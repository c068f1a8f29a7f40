//! The agent on a system bus of its own: a real dbus-daemon with the policy of the package, and a
//! polkit that says what a test wants. As root, because clients of other users are needed.

mod dbus_support;

#[path = "dbus_system/hostile.rs"]
mod hostile;
#[path = "dbus_system/life.rs"]
mod life;
#[path = "dbus_system/rights.rs"]
mod rights;
#[path = "dbus_system/support.rs"]
mod support;
