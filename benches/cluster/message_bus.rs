//! A message bus of this run alone: dbus-daemon, with a socket in the directory of the run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use zbus::{Connection, connection};

/// Everybody may do everything: there is nobody else.
const POLICY: &str = "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
    <allow send_type=\"method_call\"/><allow send_type=\"signal\"/>\
    <allow send_type=\"method_return\"/><allow send_type=\"error\"/>\
    <allow receive_type=\"method_call\"/><allow receive_type=\"signal\"/>\
    <allow receive_type=\"method_return\"/><allow receive_type=\"error\"/></policy>";

/// The bus. Ends when dropped.
pub struct MessageBus {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Drop for MessageBus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the bus.
pub struct Client {
    /// Its connection.
    pub connection: Connection,
}

impl MessageBus {
    /// Starts one; it listens when this returns.
    pub fn start(directory: &Path) -> Result<MessageBus> {
        fs::create_dir_all(directory)?;
        let file = directory.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             {POLICY}</busconfig>",
            directory.join("sock").display()
        );
        fs::write(&file, text)?;
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}", file.display()));
        command.args(["--nofork", "--nopidfile", "--print-address"]).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot run dbus-daemon")?;
        let mut address = String::new();
        let stdout = child.stdout.take().context("it has an output")?;
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(MessageBus { child, address: address.trim().to_owned() })
    }

    /// A new client.
    pub async fn connect(&self) -> Result<Client> {
        let connection = connection::Builder::address(self.address.as_str()).build().await?;
        Ok(Client { connection })
    }
}

impl Client {
    /// Whether somebody is called `name`: answered by the bus itself.
    pub async fn has_owner(&self, name: &str) -> Result<bool> {
        let bus = Some("org.freedesktop.DBus");
        let body = (name,);
        let call = self.connection.call_method(bus, "/", bus, "NameHasOwner", &body);
        Ok(call.await?.body().deserialize()?)
    }
}
