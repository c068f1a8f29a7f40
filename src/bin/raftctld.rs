//! The agent. Everything is in [`raftctl::daemon`].

fn main() -> std::process::ExitCode {
    raftctl::daemon::main()
}
