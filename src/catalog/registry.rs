//! Every action that is linked into the program, by path.

use std::sync::LazyLock;

use crate::engine::entry::Entry;

/// All actions, ordered by path. `inventory` promises no order, and lets two of one path live side by side: see [`duplicates`].
pub fn actions() -> &'static [&'static Entry] {
    static ACTIONS: LazyLock<Vec<&'static Entry>> = LazyLock::new(|| {
        let mut all: Vec<_> = inventory::iter::<Entry>.into_iter().collect();
        all.sort_by_key(|e| e.meta.path);
        all
    });
    &ACTIONS
}

/// Paths that more than one action claims: a mistake of who linked them.
pub fn duplicates() -> Vec<&'static str> {
    actions().windows(2).filter(|w| w[0].meta.path == w[1].meta.path).map(|w| w[0].meta.path).collect()
}

/// The services that there are, ordered.
pub fn services() -> Vec<&'static str> {
    let mut services: Vec<_> = actions().iter().map(|e| e.meta.service()).collect();
    services.dedup();
    services
}

/// The actions of one service.
pub fn of_service(service: &str) -> impl Iterator<Item = &'static Entry> {
    actions().iter().copied().filter(move |e| e.meta.service() == service)
}

/// The action of a path, `s3/delete_objects`.
pub fn find(path: &str) -> Option<&'static Entry> {
    actions().iter().copied().find(|e| e.meta.path == path)
}
