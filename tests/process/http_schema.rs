//! `docs/openapi.json` against a real cluster: schemathesis asks every operation what it may be
//! asked, and what it may not, and compares each answer with what the document promises.
//! `scripts/test-deps.sh` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::http::Served;

/// Where `scripts/test-deps.sh` puts it: in the target directory, beside the programs of the tests.
fn program() -> Option<PathBuf> {
    let tested = Path::new(env!("CARGO_BIN_EXE_raftctld"));
    let mut above = tested.ancestors().map(|path| path.join("schemathesis/bin/schemathesis"));
    above.find(|path| path.exists())
}

#[test]
fn every_operation_is_what_the_document_says() {
    let Some(program) = program() else {
        println!("SKIPPED: schemathesis is not installed; scripts/test-deps.sh does it");
        return;
    };
    let served = Served::started(3, "");
    // On a follower: what it has to forward is tried as well.
    let url = format!("http://{}", served.address((served.leader.at + 1) % 3));
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let ran = Command::new(program)
        .arg("run")
        .arg(&document)
        .args(["--url", &url, "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "25", "--seed", "1", "--request-timeout", "15"])
        .args(["--max-failures", "5", "--warnings", "off", "--no-color"])
        .current_dir(served.cluster.root())
        .env_remove("SCHEMATHESIS_HOOKS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    let document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(document).unwrap()).unwrap();
    let operations = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().keys().filter(|key| *key != "parameters"));
    let expected = format!("Tested: {}", operations.count());
    assert!(said.contains(&expected), "{expected}\n{said}");
    println!("{}", said.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
    assert_eq!(served.cluster.leader().token, served.leader.token, "nobody lost the leadership");
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      unsupported_method,allow_header_conformance";
