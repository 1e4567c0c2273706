//! How far a run is, on a terminal; nothing anywhere else.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error that shows how many items are settled.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Draws when `shown`; otherwise every call does nothing.
    pub fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // A template that does not parse would be our mistake; the bar then has its default look.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} {msg} ({per_sec}, {elapsed})") {
            bar.set_style(style);
        }
        Progress { bar }
    }

    /// How many items there are in all.
    pub fn set_total(&self, total: u64) {
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} {msg} ({per_sec}, {eta} left)") {
            self.bar.set_style(style);
        }
        self.bar.set_length(total);
    }

    /// So many more are settled.
    pub fn add(&self, items: u64) {
        if self.bar.position() == 0 {
            self.bar.enable_steady_tick(Duration::from_millis(100));
        }
        self.bar.inc(items);
    }

    /// What stands behind the count.
    pub fn say(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Takes the line away for good.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Does something to the terminal while the line is away.
    pub fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }

    /// Standard error for log lines, which must not be drawn over.
    pub fn stderr(&self) -> Aside {
        Aside(self.clone())
    }
}

/// See [`Progress::stderr`].
pub struct Aside(Progress);

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
