//! Every combination of what can be seen.

use super::*;

const ACTIVE: [&str; 6] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

fn results() -> Vec<Option<JobResult>> {
    let names = ["done", "canceled", "timeout", "failed", "dependency", "skipped", "new"];
    names.into_iter().map(|name| Some(JobResult::from(name))).chain([None]).collect()
}

fn target(active: &str, job: Option<u32>, condition: bool) -> Target {
    Target { active: active.to_owned(), job, condition, ..Target::default() }
}

#[test]
fn a_start_is_reached_only_by_an_active_target_whose_condition_was_met_and_no_job() {
    let both = [false, true];
    for (asked, end) in [Asked::Queued, Asked::Unknown]
        .into_iter()
        .flat_map(|asked| results().into_iter().map(move |end| (asked, end)))
    {
        for (active, job) in ACTIVE.into_iter().flat_map(|a| [None, Some(7)].map(|job| (a, job))) {
            for (condition, settled) in both.into_iter().flat_map(|c| both.map(|s| (c, s))) {
                let seen = target(active, job, condition);
                let verdict = start(asked, end.as_ref(), &seen, settled);
                let case = format!("{asked:?} {end:?} {seen:?} {settled}: {verdict:?}");
                let good = matches!(end, None | Some(JobResult::Done));
                let up = active == "active" && condition && job.is_none();
                let heard = end.is_some() || settled;
                assert_eq!(verdict == Verdict::Reached, good && up && heard, "{case}");
                assert_eq!(verdict == Verdict::Wait, good && (job.is_some() || !heard), "{case}");
                let lost = asked == Asked::Unknown && end.is_none() && job.is_none() && settled;
                assert_eq!(verdict == Verdict::AskAgain, lost && !up, "{case}");
            }
        }
    }
}

#[test]
fn a_stop_is_reached_only_when_nothing_is_left() {
    let both = [false, true];
    let all_members = [
        Members::default(),
        Members { up: vec!["a is active".to_owned()], busy: false },
        Members { up: vec!["a is deactivating".to_owned()], busy: true },
        Members { up: vec![], busy: true },
    ];
    for (end, active) in results().into_iter().flat_map(|e| ACTIVE.map(|a| (e.clone(), a))) {
        for (members, job) in all_members.iter().flat_map(|m| [None, Some(7)].map(|j| (m, j))) {
            for (closed, settled) in both.into_iter().flat_map(|c| both.map(|s| (c, s))) {
                let seen = target(active, job, true);
                let verdict = stop(end.as_ref(), &seen, members, closed, settled);
                let case = format!("{end:?} {active} {members:?} {job:?} {closed} {settled}");
                let good = matches!(end, None | Some(JobResult::Done));
                let heard = end.is_some() || settled;
                let down = active == "inactive" && job.is_none();
                let all_down = down && members.up.is_empty() && !members.busy;
                let reached = good && heard && all_down && closed;
                assert_eq!(verdict == Verdict::Reached, reached, "{case}: {verdict:?}");
                let bad_end = !good || (heard && job.is_none() && active != "inactive");
                if bad_end {
                    assert!(matches!(verdict, Verdict::Failed(_)), "{case}: {verdict:?}");
                }
                assert_ne!(verdict, Verdict::AskAgain, "{case}");
            }
        }
    }
}

#[test]
fn a_target_is_down_unless_it_is_active_and_stays_so() {
    for active in ACTIVE {
        for job in ["", "start", "stop", "restart", "try-restart", "reload", "of-later"] {
            let (name, job) = ("t".to_owned(), job.to_owned());
            let listed = Listed { name, active: active.to_owned(), job };
            let stays = matches!(active, "active" | "reloading")
                && matches!(listed.job.as_str(), "" | "start" | "reload");
            assert_eq!(down(&listed).is_none(), stays, "{listed:?}");
        }
    }
}
