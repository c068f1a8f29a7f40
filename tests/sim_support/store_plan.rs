//! The histories in which clients use the store: their settings, and the bugs planted in them.

use std::time::Duration;

use raftctl::core::rng::Rng;

use crate::sim::plan::{Mutation, Settings, StorePlan};

/// Whether it can only show where clients use the store.
pub fn plants(mutation: Mutation) -> bool {
    Mutation::ALL.iter().skip(24).any(|(_, other)| *other == mutation)
}

/// The settings of a seed in which clients use the store; one in twenty with hosts that
/// have something to start and stop, because those take long.
pub fn settings(seed: u64, mutation: Option<Mutation>) -> Settings {
    let kind = if seed % 20 == 4 && mutation.is_none() { 2 } else { 0 };
    let settings = Settings::of(seed * 4 + kind + seed % 2, None);
    let mut rng = Rng::new(seed ^ 0x0051_07e5);
    let several = seed % 3 == 2;
    let pause = if several { 60 } else { [10, 20, 50][rng.below(3) as usize] };
    let plan = StorePlan {
        clients: 3 + rng.below(5) as usize,
        pause: Duration::from_millis(pause),
        groups: 1 + rng.below(2) as u32,
        several,
        most: if several { 100 } else { 400 },
        looks_into_nodes: mutation.is_none(),
    };
    let nodes = if mutation.is_some() { settings.nodes.max(3) } else { settings.nodes };
    let mut authority = settings.authority;
    if let Some(plan) = &mut authority {
        plan.restore = false;
    }
    let propose_every = Duration::from_millis(100);
    let store = Some(plan);
    let settings = Settings { nodes, propose_every, authority, store, mutation, ..settings };
    match mutation {
        Some(mutation) => planted(settings, mutation),
        None => settings,
    }
}

/// What a planted bug of the store needs to show.
fn planted(settings: Settings, mutation: Mutation) -> Settings {
    let Some(mut plan) = settings.store else { return settings };
    let ms = Duration::from_millis;
    let mut settings = settings;
    plan.pause = ms(5);
    match mutation {
        Mutation::SnapshotMissesRow => {
            settings.log_keep_entries = 4;
            plan.most = 1_500;
        }
        Mutation::RetryAppliesTwice => settings.weather.loss_ppm = 150_000,
        _ => {}
    }
    Settings { store: Some(plan), ..settings }
}
