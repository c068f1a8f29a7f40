//! What `release` and `fence` start from: the configuration of the node, the service manager, a
//! log.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, ConfigFile, LogFormat};
use crate::core::NodeName;
use crate::exit::{Exit, Failure};
use crate::log::{self, Lines, Log, Origin};
use crate::systemd::bus::BusAddress;
use crate::systemd::host::HostSettings;
use crate::systemd::root_file::{self, Owner};

/// The configuration of `node`, which only root can have written.
pub(super) fn read(node: &NodeName) -> Result<Config, Failure> {
    let unfit = |text: String| Failure::new(Exit::Configuration, text);
    let path = Path::new(DIRECTORY).join(format!("{node}.toml"));
    let bytes = root_file::read(&path, Owner::ROOT).map_err(|error| unfit(error.to_string()))?;
    let file = ConfigFile::parse_bytes(&bytes, &path.display().to_string(), Path::new(DIRECTORY));
    let file = file.map_err(|error| unfit(error.to_string()))?;
    file.node(Some(node.as_str())).cloned().map_err(|error| unfit(error.to_string()))
}

/// This host, as the service manager has it.
pub(super) fn host(config: &Config) -> Result<HostSettings, Failure> {
    let bus = BusAddress::system();
    let bus = bus.map_err(|e| Failure::new(Exit::Failure, format!("address of the bus: {e}")))?;
    let (node, directory) = (config.node.name.clone(), config.node.runtime_directory.clone());
    Ok(HostSettings::new(node, directory, bus))
}

/// One thread, which is what starts fastest.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failure, format!("cannot start: {error}")))
}

/// To the journal, under the name of the agent, or lines without time.
pub(super) fn start_log(config: &Config) -> Result<Log, Failure> {
    let (outlet, log) = if log::stderr_is_journal() {
        let (cluster, node) = (config.cluster.name.clone(), config.node.name.to_string());
        let started = log::to_journal(Origin { cluster, node });
        started.map_err(|e| Failure::new(Exit::Failure, format!("cannot start: {e}")))?
    } else {
        log::to_lines(Lines::stderr().plain(), LogFormat::Text)
    };
    tracing_subscriber::registry().with(LevelFilter::INFO).with(outlet).init();
    Ok(log)
}

const DIRECTORY: &str = "/etc/raftctl";
