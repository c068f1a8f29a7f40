//! The rules over everything that is not Rust: manifest, lock file, `deny.toml`, all tracked text.

/// Every dependency line stands below a comment that says why it is there.
pub fn dependencies_have_reasons(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut in_dependencies, mut explained, mut depth) = (false, false, 0i32);
    for (line, at) in manifest.lines().map(str::trim).zip(1..) {
        let code = line.split(" #").next().unwrap_or(line);
        if depth == 0 && line.starts_with('[') {
            let section = line.trim_matches(['[', ']']);
            in_dependencies = section.ends_with("dependencies");
            if section.contains("dependencies.") {
                found.push(format!("Cargo.toml:{at}: write {section} as one line with its reason"));
            }
        } else if depth == 0 && in_dependencies && is_entry(line) && !explained {
            let name = line.split('=').next().unwrap_or(line).trim();
            found.push(format!("Cargo.toml:{at}: {name} has no reason above it"));
        }
        if !line.starts_with('#') {
            depth += code.matches(['[', '{']).count() as i32;
            depth -= code.matches([']', '}']).count() as i32;
        }
        explained = line.starts_with('#') && line.trim_matches(['#', ' ']).len() >= 8;
    }
    found
}

fn is_entry(line: &str) -> bool {
    line.contains('=') && !line.starts_with('#')
}

/// An advisory that is let through says why, with its number and a sentence.
pub fn advisories_have_reasons(deny: &str) -> Vec<String> {
    let table: toml::Table = match deny.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("deny.toml: {error}")],
    };
    let ignored = table.get("advisories").and_then(|a| a.get("ignore")?.as_array());
    let judged = ignored.into_iter().flatten().filter_map(|entry| {
        let text = |key| entry.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let ok = text("id").starts_with("RUSTSEC-") && text("reason").len() >= 20;
        (!ok).then(|| format!("deny.toml: {entry} needs an id and a reason"))
    });
    judged.collect()
}

/// Every crate comes from crates.io, or is this package.
pub fn crates_come_from_one_place(lock: &str) -> Vec<String> {
    let table: toml::Table = match lock.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("Cargo.lock: {error}")],
    };
    let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
    let packages = table.get("package").and_then(toml::Value::as_array);
    let judged = packages.into_iter().flatten().filter_map(|package| {
        let text = |key| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let ok = text("source") == crates_io || text("name") == env!("CARGO_PKG_NAME");
        (!ok).then(|| format!("Cargo.lock: {} comes from {:?}", text("name"), text("source")))
    });
    judged.collect()
}

/// No text of the repository knows where it was built or through which host it was fetched.
pub fn names_no_build_machine(path: &str, text: &str, extra_roots: &[&str]) -> Vec<String> {
    // In pieces, so that this file passes its own rule.
    let roots = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let hosts = [
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("registry.npmjs", ".org"),
        concat!("files.pythonhosted", ".org"),
        concat!("pypi", ".org"),
        concat!("deb.debian", ".org"),
    ];
    let mut found = Vec::new();
    for (line, at) in text.lines().zip(1..) {
        let rooted = roots.iter().chain(extra_roots).find(|root| has_absolute(line, root));
        let host = hosts.iter().find(|host| line.contains(*host));
        if let Some(what) = rooted.or(host) {
            found.push(format!("{path}:{at}: names {what}, which is of one machine only"));
        }
    }
    found
}

/// Whether `root` stands in `line` as the beginning of an absolute path.
fn has_absolute(line: &str, root: &str) -> bool {
    line.match_indices(root).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-)}~*/".contains(c))
    })
}

/// Every target that a person may call says in the Makefile what it does, for `make help`.
pub fn targets_are_explained(makefile: &str) -> Vec<String> {
    let phony = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY:"));
    let judged = phony.flat_map(str::split_whitespace).filter_map(|target| {
        let rule = makefile.lines().find(|line| line.starts_with(&format!("{target}:")));
        let explained = rule.is_some_and(|line| line.contains("## "));
        (!explained).then(|| format!("Makefile: target {target} has no `## ` comment"))
    });
    judged.collect()
}
