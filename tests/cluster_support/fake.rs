//! A fake agent: a script called `raftctld` that becomes the test binary it belongs to.
//!
//! It ends by itself after [`FAKE_LIFE`], so that a failed test leaves nothing behind for long.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use raftctl::config::ConfigFile;

/// How long a fake agent lives at most.
const FAKE_LIFE: Duration = Duration::from_secs(60);

/// The fake agent: a script that becomes the test binary at `exe`. Files `NODE.stubborn` and
/// `NODE.exit` beside it make it ignore SIGTERM or exit with the status in the file.
pub fn fake_script() -> String {
    let exe = std::env::current_exe().unwrap();
    format!(
        r#"#!/bin/bash
here=${{0%/*}} config=$2 node=$4
echo "fake $node starts" >&2
if [ -e "$here/$node.exit" ]; then
    echo "fake $node refuses" >&2
    exit "$(cat "$here/$node.exit")"
fi
if [ -e "$here/$node.stubborn" ]; then trap '' TERM; fi
export FAKE_CONFIG=$config FAKE_NODE=$node
exec -a "$0" '{}' --exact fake_agent --nocapture
"#,
        exe.display()
    )
}

/// To be called from a test named `fake_agent`: does nothing in a test run, and is the agent when
/// the script has said so.
pub fn fake_agent_main() {
    let (Ok(config), Ok(node)) = (std::env::var("FAKE_CONFIG"), std::env::var("FAKE_NODE")) else {
        return;
    };
    let path = Path::new(&config);
    let text = fs::read_to_string(path).unwrap();
    let file = ConfigFile::parse(&text, &config, path.parent().unwrap()).unwrap();
    let config = file.node(Some(&node)).unwrap();
    fs::create_dir_all(&config.node.runtime_directory).unwrap();
    fs::create_dir_all(&config.node.state_directory).unwrap();
    let socket = config.node.socket();
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let (_forever, end) = mpsc::sync_channel::<()>(0);
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let _ = end.recv_timeout(FAKE_LIFE);
}
