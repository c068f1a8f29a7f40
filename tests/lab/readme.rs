//! The tasks of the README, done on three hosts with the commands that it prints.
//!
//! A block of shell names the hosts where it is run (`sh on each host`). Other than in the text
//! hosts are called `n1` here and not `node1`, and have addresses in 10.99.0.0/24.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::packaging::{NEXT, bare, next_version, version};
use crate::readme_support::{Block, in_language};
use crate::support::{DEADLINE, Host, Lab, Setup, run_package, wait_until};

/// The address of the text's `vip.service`, here.
const VIP: &str = "10.99.0.10";

const INSTALL: &str = "Install it on three hosts";
const NGINX: &str = "Make nginx a singleton";
const ADDRESS: &str = "A virtual IP";
const STATE: &str = "Keep a little shared state";
const DATABASE: &str = "PostgreSQL promotion";
const KEEPALIVED: &str = "Replace keepalived";

/// How long one block may take.
const BLOCK_MAX: Duration = Duration::from_secs(60);

/// The blocks below a heading that are to be run on hosts.
fn steps(heading: &str) -> Vec<Block> {
    let mut steps = in_language(Some(heading), "sh");
    steps.retain(|step| !step.place.is_empty());
    steps
}

/// The block as it is for `host`: names, addresses, and what the text says is different there.
fn for_host(step: &Block, host: &Host) -> String {
    let mut text = String::new();
    for line in step.text.lines() {
        let own = match line.split('#').next().unwrap_or_default().trim() {
            "node=node1" => format!("node={}", host.name),
            "priority=150" if host.index != 1 => "priority=100".to_owned(),
            // There is no network; whoever comes with a package has put it here.
            install if install.starts_with("apt install ") && !install.contains("./") => continue,
            _ => line.to_owned(),
        };
        text += &(own + "\n");
    }
    for index in 1..=3 {
        text = text.replace(&format!("node{index}"), &format!("n{index}"));
    }
    text.replace("192.0.2.", "10.99.0.")
}

/// Runs a block on one host, in root's directory.
fn perform(step: &Block, host: &Host) -> String {
    let text = for_host(step, host);
    let script = format!("set -eu\ncd /root\nexport DEBIAN_FRONTEND=noninteractive\n{text}");
    println!("{}: {}", host.name, text.trim_end());
    let output = host.try_run(&["sh", "-c", &script], BLOCK_MAX);
    let output = output.unwrap_or_else(|| panic!("{}: has not ended:\n{text}", host.name));
    assert_eq!(output.code, 0, "{}:\n{text}{}{}", host.name, output.stdout, output.stderr);
    output.stdout
}

/// Runs a block wherever it says.
fn everywhere(step: &Block, lab: &Lab) {
    let hosts: &[usize] = match step.place.as_str() {
        "on each host" | "on node1, node2 and node3, in this order" => &[1, 2, 3],
        "on node1" | "on any host" => &[1],
        "on node2 and node3" => &[2, 3],
        place => panic!("{place:?} is not a place that is known here"),
    };
    hosts.iter().for_each(|&host| drop(perform(step, lab.host(host))));
}

/// Three hosts with the package, on which the first task was done.
fn cluster(body: impl FnOnce(&Lab)) {
    run_package(Setup::default(), |lab| {
        for mut step in steps(INSTALL) {
            step.text = step.text.replace("apt install ./raftctl_*.deb\n", "");
            everywhere(&step, lab);
            lab.leader();
        }
        body(lab);
    });
}

/// A service that the text takes for granted, enabled as Debian does it when it is installed.
fn stand_in(lab: &Lab, name: &str) {
    let text = format!(
        "[Unit]\nDescription={name}\n[Service]\nExecStart=/bin/sleep infinity\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    for host in lab.hosts() {
        host.write_file(&format!("/etc/systemd/system/{name}.service"), &text);
        host.systemctl(&["daemon-reload"]);
        host.systemctl(&["enable", "--now", name]);
    }
}

/// Who is active, by number, among the hosts that answer.
fn active(lab: &Lab) -> usize {
    lab.leader().host
}

/// Waits until `host` is active, or any other than it.
fn wait_active(lab: &Lab, what: &str, wanted: impl Fn(usize) -> bool) -> usize {
    let mut now = 0;
    wait_until(what, 2 * DEADLINE, || {
        now = active(lab);
        wanted(now)
    });
    now
}

fn transfer(lab: &Lab) -> usize {
    let old = active(lab);
    lab.host(old).run(&["raftctl", "transfer"]).ok();
    wait_active(lab, "another host is active", |new| new != old)
}

#[test]
fn it_is_installed_on_three_hosts() {
    bare(3, |lab, package| {
        lab.hosts().for_each(|host| bring(host, package));
        steps(INSTALL).iter().for_each(|step| {
            everywhere(step, lab);
            lab.leader();
        });
        for host in lab.hosts() {
            assert_eq!(host.property(&host.agent(), "UnitFileState"), "enabled");
        }
        // And so it is after the power comes back.
        lab.hosts().for_each(|host| host.power_cut());
        lab.boot();
        lab.leader();
    });
}

/// Puts a package where the text has it, in place of another one.
fn bring(host: &Host, package: &Path) {
    let place = host.path("/root");
    for entry in fs::read_dir(&place).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().ends_with(".deb") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::copy(package, place.join("raftctl_1_all.deb")).unwrap();
}

#[test]
fn it_is_upgraded() {
    bare(3, |lab, package| {
        lab.hosts().for_each(|host| bring(host, package));
        steps(INSTALL).iter().for_each(|step| everywhere(step, lab));
        let before = version(lab.host(1));
        let place = tempfile::tempdir().unwrap();
        let next = next_version(package, place.path());
        let last = active(lab);
        let mut order: Vec<usize> = (1..=3).filter(|&host| host != last).collect();
        order.push(last);
        for host in order.into_iter().map(|host| lab.host(host)) {
            bring(host, &next);
            steps("Upgrade").iter().for_each(|step| drop(perform(step, host)));
            assert_eq!(version(host), format!("{before}{NEXT}"));
            assert_ne!(lab.leader().host, host.index, "{} leads", host.name);
        }
    });
}

#[test]
fn nginx_runs_on_exactly_one_host() {
    cluster(|lab| {
        stand_in(lab, "nginx");
        steps(NGINX).iter().for_each(|step| everywhere(step, lab));
        let runs = || -> Vec<usize> {
            let hosts = lab.hosts().filter(|host| host.is_running());
            hosts.filter(|h| !h.pids("nginx.service").is_empty()).map(|h| h.index).collect()
        };
        wait_until("nginx runs on the active host", DEADLINE, || runs() == [active(lab)]);
        let sampler = lab.watch(&["nginx.service"]);
        let new = transfer(lab);
        wait_until("nginx has moved", DEADLINE, || runs() == [new]);
        // By hand on another host it does not start.
        let other = lab.hosts().find(|host| host.index != new).unwrap();
        other.run(&["systemctl", "start", "nginx"]);
        assert_eq!(runs(), [new]);
        lab.host(new).power_cut();
        let next = wait_active(lab, "another host is active", |host| host != new);
        wait_until("nginx has moved again", DEADLINE, || runs() == [next]);
        lab.host(new).boot();
        lab.leader();
        assert_eq!(runs(), [next]);
        let samples = sampler.stop();
        let record = samples.of("nginx.service");
        assert_eq!(record.longest_overlap(), Duration::ZERO, "{record}");
    });
}

/// The hosts that have the address.
fn holders(lab: &Lab) -> Vec<usize> {
    let shown = |host: &Host| host.run(&["ip", "-o", "address", "show", "to", VIP]).ok();
    lab.hosts().filter(|host| !shown(host).is_empty()).map(|host| host.index).collect()
}

/// What the switch believes about the address, as a neighbour that asked once.
fn neighbour() -> String {
    let show = ["neigh", "show", VIP, "dev", "br0"];
    let output = std::process::Command::new("ip").args(show).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_address_is_on_exactly_one_host_and_neighbours_know() {
    cluster(|lab| {
        steps(ADDRESS).iter().for_each(|step| everywhere(step, lab));
        let mut now = active(lab);
        wait_until("the active host has the address", DEADLINE, || holders(lab) == [now]);
        // The neighbour asks, and remembers. Nobody listens there, which is an answer.
        let closed = SocketAddr::new(VIP.parse().unwrap(), 9);
        let asks = || TcpStream::connect_timeout(&closed, DEADLINE).unwrap_err().kind();
        wait_until("the address answers", DEADLINE, || asks() == ErrorKind::ConnectionRefused);
        for _ in 0..2 {
            assert!(neighbour().contains(&format!("02:00:00:00:00:0{now}")), "{}", neighbour());
            now = transfer(lab);
            wait_until("the address has moved", DEADLINE, || holders(lab) == [now]);
            let told = format!("02:00:00:00:00:0{now}");
            wait_until("the neighbour was told", DEADLINE, || neighbour().contains(&told));
        }
        // Without power nobody takes the address away, and nobody needs to; only that the lab keeps
        // the network of a host while it is off.
        let old = lab.host(now);
        old.power_cut();
        let flush = ["-n", &old.name, "address", "flush", "to", VIP, "dev", "eth0"];
        assert!(std::process::Command::new("ip").args(flush).status().unwrap().success());
        now = wait_active(lab, "another host is active", |host| host != old.index);
        let told = format!("02:00:00:00:00:0{now}");
        wait_until("the neighbour was told", DEADLINE, || neighbour().contains(&told));
        old.boot();
        lab.leader();
        assert_eq!(holders(lab), [now]);
    });
}

#[test]
fn a_little_state_is_shared() {
    cluster(|lab| {
        let steps = steps(STATE);
        let [config, lock, unlock, fenced] = &steps[..] else { panic!() };
        everywhere(config, lab);
        for host in lab.hosts() {
            assert_eq!(host.run(&["raftctl", "get", "config/workers"]).stdout, "8");
        }
        // The first one has it, whoever else tries.
        let said = |host: &Host| perform(lock, host);
        let answers: Vec<String> = lab.hosts().map(said).collect();
        assert_eq!(answers, ["the report is made here\n", "", ""]);
        let other = lab.host(2);
        assert_eq!(perform(unlock, other), "it was not ours\n");
        assert_eq!(other.run(&["raftctl", "get", "lock/report"]).stdout, lab.host(1).name);
        assert_eq!(perform(unlock, lab.host(1)), "");
        assert_eq!(other.run(&["raftctl", "get", "lock/report"]).code, 1);

        // A token of the past is refused on every host.
        let old = active(lab);
        let token = lab.leader().token;
        let fenced = |host: &Host, token: u64| {
            let script = format!("RAFTCTL_TOKEN={token}\n{}", for_host(fenced, host));
            host.run(&["sh", "-c", &script]).code
        };
        assert_eq!(fenced(lab.host(old), token), 0);
        let new = transfer(lab);
        assert_eq!(fenced(lab.host(old), token), 7);
        assert_eq!(fenced(lab.host(new), lab.leader().token), 0);
        let holder = lab.host(old).run(&["raftctl", "get", "primary/host"]).stdout;
        assert_eq!(holder, lab.host(new).name);
    });
}

#[test]
fn a_host_is_taken_out_for_maintenance() {
    cluster(|lab| {
        let [on, off] = &steps("Take a host out for maintenance")[..] else { panic!() };
        let host = lab.host(active(lab));
        perform(on, host);
        let elsewhere = wait_active(lab, "another host is active", |now| now != host.index);
        assert_eq!(host.status()["maintenance"], true, "{}", host.status());
        let asked = ["raftctl", "transfer", &host.name];
        assert_ne!(lab.host(elsewhere).run(&asked).code, 0, "it was handed to {}", host.name);

        // Also after a reboot, and while another host is lost.
        host.systemctl(&["reboot", "--no-block"]);
        host.boot_again(DEADLINE);
        assert_eq!(active(lab), elsewhere);
        assert_eq!(host.status()["maintenance"], true, "{}", host.status());
        lab.host(elsewhere).power_cut();
        let third = wait_active(lab, "the third host is active", |now| now != elsewhere);
        assert_ne!(third, host.index);

        perform(off, host);
        assert_eq!(host.status()["maintenance"], false, "{}", host.status());
        lab.host(third).run(&asked).ok();
        wait_active(lab, "it is active again", |now| now == host.index);
    });
}

#[test]
fn keepalived_is_replaced() {
    cluster(|lab| {
        stand_in(lab, "keepalived");
        stand_in(lab, "haproxy");
        let unit = steps(ADDRESS).into_iter().next().expect("vip.service");
        everywhere(&unit, lab);
        steps(KEEPALIVED).iter().for_each(|step| everywhere(step, lab));
        for host in lab.hosts() {
            assert_eq!(host.run(&["systemctl", "is-active", "keepalived"]).stdout, "inactive\n");
        }
        // preempt and priority: the first host is preferred.
        wait_active(lab, "n1 is active", |now| now == 1);
        wait_until("n1 has the address", DEADLINE, || holders(lab) == [1]);
        // eligible_while: what keepalived would have tracked.
        lab.host(1).systemctl(&["stop", "haproxy"]);
        let other = wait_active(lab, "another host is active", |now| now != 1);
        wait_until("it has the address", DEADLINE, || holders(lab) == [other]);
        lab.host(1).systemctl(&["start", "haproxy"]);
        wait_active(lab, "n1 is active again", |now| now == 1);
        wait_until("n1 has the address again", DEADLINE, || holders(lab) == [1]);
    });
}

/// Asks the server of a host; nothing if it does not answer.
fn ask(host: &Host, query: &str) -> String {
    let data = format!("host={} user=postgres dbname=postgres connect_timeout=1", host.name);
    // A write is acknowledged when another host has it, which may never be.
    let line = ["timeout", "2", "psql", "-qtAX", "-d", &data, "-c", query];
    host.run(&line).stdout.trim().to_owned()
}

#[test]
fn postgresql_is_promoted_and_loses_nothing() {
    if !Path::new("/usr/lib/postgresql/15/bin/postgres").exists() {
        println!("SKIPPED: no PostgreSQL 15 on this machine");
        return;
    }
    cluster(|lab| {
        stand_in(lab, "postgresql");
        for host in lab.hosts() {
            host.run(&["install", "-d", "-o", "postgres", "/var/lib/postgresql"]).ok();
            host.run(&["install", "-d", "-o", "postgres", "/var/run/postgresql"]).ok();
        }
        let steps = steps(DATABASE);
        // The example names the hosts as the text does.
        let copied = steps.first().expect("the first step");
        everywhere(copied, lab);
        for host in lab.hosts() {
            for file in ["/etc/raftctl/postgresql.env", POSTGRESQL_CONF] {
                let text = host.read_file(file).unwrap();
                host.write_file(file, &text.replace("node", "n"));
            }
        }
        steps[1..].iter().for_each(|step| everywhere(step, lab));
        // Whoever is active, but is not the one to be promoted, hands over after some failures.
        let writes = |query: &str| {
            let mut host = 0;
            wait_until("the server of the active host takes a write", 3 * DEADLINE, || {
                host = active(lab);
                ask(lab.host(host), query) == "written"
            });
            host
        };
        writes("CREATE TABLE IF NOT EXISTS t (value int); SELECT 'written'");
        let insert = |value: u32| format!("INSERT INTO t VALUES ({value}) RETURNING 'written'");
        let first = writes(&insert(1));
        transfer(lab);
        let second = writes(&insert(2));
        assert_ne!(second, first);
        // A primary that loses its power, after the last write was acknowledged.
        lab.host(second).power_cut();
        let third = writes(&insert(3));
        lab.host(second).boot();
        lab.leader();
        let all = "SELECT string_agg(DISTINCT value::text, ','), pg_is_in_recovery() FROM t";
        wait_until("the old primary follows and has everything", 2 * DEADLINE, || {
            ask(lab.host(second), all) == "1,2,3|t"
        });
        let tokens = ask(lab.host(third), "SELECT token, host FROM raftctl_activation ORDER BY 1");
        let hosts: Vec<&str> = tokens.lines().filter_map(|l| l.split('|').nth(1)).collect();
        let expected = [first, second, third].map(|host| format!("n{host}"));
        assert!(hosts.ends_with(&expected.each_ref().map(String::as_str)), "{tokens}");
        let token = lab.leader().token.to_string();
        assert!(tokens.lines().last().is_some_and(|line| line.starts_with(&token)), "{tokens}");
    });
}

const POSTGRESQL_CONF: &str = "/usr/share/doc/raftctl/examples/postgresql/postgresql.conf";

/// The lab runs what is shipped: no drop-in loosens the confinement, and the kernel agrees.
#[test]
fn the_agents_are_confined() {
    cluster(|lab| {
        for host in lab.hosts() {
            let agent = host.agent();
            let dropins = host.property(&agent, "DropInPaths");
            let ours = |path: &str| path.starts_with("/run/systemd/generator/");
            assert!(dropins.split_whitespace().all(ours), "{dropins}");
            host.run(&["systemd-analyze", "security", "--no-pager", "--threshold=15", &agent]).ok();
            let pid = host.main_pid(&agent);
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let value = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
            };
            assert_eq!(value("NoNewPrivs"), "1");
            assert_eq!(value("Seccomp"), "2");
            for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"] {
                assert_eq!(value(set), "0000000000000000", "{set}");
            }
            assert_ne!(value("Uid").split_whitespace().next(), Some("0"));
        }
    });
}
