//! Tests of the health command, with real processes.

use std::time::Duration;

use super::*;
use crate::core::standing::HoldDownRules;

fn settings(script: &str, limit: Duration) -> Settings {
    let second = Duration::from_secs(1);
    let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    let rules =
        HoldDownRules { failures: 1, window: second, hold_down: second, hold_down_max: second };
    let health = crate::config::Health { command, timeout: limit, ..Default::default() };
    Settings {
        node: "n1".parse().unwrap(),
        cluster: "blue".to_owned(),
        rules,
        eligible_while: Vec::new(),
        health,
    }
}

const LONG: Duration = Duration::from_secs(20);

async fn run(script: &str, limit: Duration) -> Finding {
    Checks { running: None }.once(&settings(script, limit)).await
}

#[tokio::test]
async fn the_exit_status_decides_and_the_last_line_says_why() {
    let told = |success, why: &str| Finding { success, why: why.to_owned() };
    assert_eq!(run("exit 0", LONG).await, told(true, "exit status 0"));
    assert_eq!(run("echo fine", LONG).await, told(true, "exit status 0: fine"));
    let script = "echo first; echo disk full >&2; echo; exit 3";
    assert_eq!(run(script, LONG).await, told(false, "exit status 3: disk full"));
    assert_eq!(run("kill -9 $$", LONG).await, told(false, "signal 9"));
    assert_eq!(
        run("printf 'a\\033[31m\\n'; exit 1", LONG).await.why,
        "exit status 1: a\u{fffd}[31m"
    );
}

#[tokio::test]
async fn its_environment_is_the_documented_one() {
    let script = "test $RAFTCTL_NODE = n1 && test $RAFTCTL_CLUSTER = blue && test -z $HOME && pwd";
    assert_eq!(run(script, LONG).await.why, "exit status 0: /");
}

#[tokio::test]
async fn output_without_end_is_read_and_not_kept() {
    let script = "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 3000000; \
                  head -c 2000 /dev/zero | tr '\\0' b; exit 1";
    let finding = run(script, LONG).await;
    let shown = "b".repeat(limits::HEALTH_LINE_MAX_CHARS);
    assert_eq!(finding.why, format!("exit status 1: {shown}…"));
}

#[tokio::test]
async fn one_that_takes_too_long_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("alive");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The child holds the pipe open for as long as it lives.
    let script = format!("(exec sleep 1000 > {0}) & trap '' TERM; echo slow; wait", fifo.display());
    let opened = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
    let finding = run(&script, Duration::from_secs(2)).await;
    assert_eq!(finding, Finding { success: false, why: "no result within 2s: slow".to_owned() });
    let read = tokio::task::spawn_blocking(|| async move {
        let mut file = opened.await.unwrap();
        std::io::Read::read(&mut file, &mut [0]).unwrap()
    });
    let ended = timeout(LONG, read.await.unwrap()).await;
    assert_eq!(ended.unwrap(), 0, "the end of the file: nobody writes any more");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failure() {
    let mut settings = settings("", LONG);
    settings.health.command = vec!["/nonexistent/check".to_owned()];
    let finding = Checks { running: None }.once(&settings).await;
    let begin = "/nonexistent/check cannot be run: No such file";
    assert!(!finding.success && finding.why.starts_with(begin), "{}", finding.why);
}

#[tokio::test]
async fn it_is_asked_again_and_ends_with_its_owner() {
    let mut quick = settings("exit 7", LONG);
    quick.health.interval = Duration::from_millis(20);
    let (change, changes) = watch::channel(Arc::new(quick));
    let (found, mut findings) = mpsc::channel(1);
    let done = start(changes, found).unwrap();
    for _ in 0..3 {
        let finding = timeout(LONG, findings.recv()).await.unwrap().unwrap();
        assert_eq!(finding.why, "exit status 7");
    }
    // Another command, from now on.
    change.send_replace(Arc::new(settings("exec sleep 1000", LONG)));
    while timeout(Duration::from_millis(500), findings.recv()).await.is_ok() {}
    drop(change);
    timeout(LONG, done).await.unwrap().unwrap();
}
