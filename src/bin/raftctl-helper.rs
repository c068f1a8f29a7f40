//! What runs as root beside the agent. Everything is in [`raftctl::helper`].

fn main() -> std::process::ExitCode {
    raftctl::helper::main()
}
