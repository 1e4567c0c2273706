//! How far a run is, drawn on a terminal; elsewhere what slows it down, now and then in the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::host::Progress;

/// How often a log that is no terminal is told what slows the run down.
const NOTED: Duration = Duration::from_secs(60);

/// A line on standard error that shows how many items are settled.
#[derive(Debug, Clone)]
pub struct ProgressLine {
    bar: ProgressBar,
    drawn: bool,
    /// When the log was told last.
    noted: Arc<Mutex<Option<Instant>>>,
}

impl ProgressLine {
    /// Draws when `drawn`.
    pub fn new(drawn: bool) -> Self {
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // A template that does not parse would be our mistake; the bar then has its default look.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} ({per_sec}, {elapsed}) {msg}") {
            bar.set_style(style);
        }
        ProgressLine { bar, drawn, noted: Arc::default() }
    }

    /// What a run says of itself.
    pub fn show(&self, progress: Progress) {
        match progress {
            // Nothing to do is nothing to draw.
            Progress::Total(0) => {}
            Progress::Total(total) => {
                if let Ok(style) = ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} ({per_sec}, {eta} left) {msg}") {
                    self.bar.set_style(style);
                }
                self.bar.set_length(total);
            }
            Progress::Advanced(items) => {
                if self.bar.position() == 0 {
                    self.bar.enable_steady_tick(Duration::from_millis(100));
                }
                self.bar.inc(items);
            }
            Progress::Note(note) if self.drawn => self.bar.set_message(note),
            Progress::Note(note) => self.log(&note),
        }
    }

    fn log(&self, note: &str) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if !note.is_empty() && noted.is_none_or(|last| last.elapsed() >= NOTED) {
            *noted = Some(Instant::now());
            tracing::info!("{note}; it is waited for");
        }
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

/// See [`ProgressLine::stderr`].
pub struct Aside(ProgressLine);

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
