//! How far a run is, drawn on a terminal; elsewhere what slows it down, now and then in the log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::host::Progress;

/// How often a log that is no terminal is told what slows the run down.
const NOTED: Duration = Duration::from_secs(60);

/// How often the line is drawn.
const TICK: Duration = Duration::from_millis(100);

/// A run that is over this soon after its first item needs no line.
const QUICK: Duration = Duration::from_millis(200);

/// A line on standard error that shows how many items are settled. What is over at once, or has nothing to do, draws nothing.
#[derive(Debug, Clone)]
pub struct ProgressLine {
    drawn: bool,
    line: Arc<Mutex<Line>>,
    /// When the log was told last.
    noted: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct Line {
    /// Hidden until there is something to show, and while something else has the terminal.
    bar: ProgressBar,
    begun: bool,
    away: bool,
    total: Option<u64>,
    /// When the first item was settled.
    first: Option<Instant>,
}

impl Line {
    /// Makes the bar anew, seen or not, as far as it was.
    fn place(&mut self) {
        let target = if self.begun && !self.away { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let visible = !target.is_hidden();
        let bar = ProgressBar::with_draw_target(self.total, target)
            .with_style(style(self.total))
            .with_position(self.bar.position())
            .with_message(self.bar.message());
        bar.set_elapsed(self.bar.elapsed());
        if visible {
            bar.enable_steady_tick(TICK);
        }
        self.bar = bar;
    }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{bar:30} {human_pos}/{human_len} ({per_sec}, {eta} left) {msg}",
        None => "{spinner} {human_pos} ({per_sec}, {elapsed}) {msg}",
    };
    // A template that does not parse would be our mistake; the bar then has its default look.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl ProgressLine {
    /// Draws when `drawn`.
    pub fn new(drawn: bool) -> Self {
        let line = Line { bar: ProgressBar::hidden(), begun: false, away: false, total: None, first: None };
        ProgressLine { drawn, line: Arc::new(Mutex::new(line)), noted: Arc::default() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a run says of itself.
    pub fn show(&self, progress: Progress) {
        match progress {
            Progress::Total(0) => {}
            Progress::Total(total) => {
                let mut line = self.line();
                line.total = Some(total);
                line.bar.set_style(style(Some(total)));
                line.bar.set_length(total);
            }
            // To count costs more than most items do.
            Progress::Advanced(_) if !self.drawn => {}
            Progress::Advanced(items) => {
                let first = *self.line().first.get_or_insert_with(Instant::now);
                let bar = if first.elapsed() >= QUICK { self.begin() } else { self.line().bar.clone() };
                bar.inc(items);
            }
            Progress::Note(note) if !self.drawn => self.log(&note),
            Progress::Note(note) if note.is_empty() => self.line().bar.set_message(note),
            Progress::Note(note) => self.begin().set_message(note),
        }
    }

    /// The bar, which is drawn from now on.
    fn begin(&self) -> ProgressBar {
        let mut line = self.line();
        if self.drawn && !line.begun {
            line.begun = true;
            line.place();
        }
        line.bar.clone()
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
        let mut line = self.line();
        line.begun = false;
        line.bar.finish_and_clear();
    }

    /// Does something to the terminal while the line is away. It is to end a line of its own: the line is drawn where it leaves off.
    pub fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        if !self.drawn {
            return write();
        }
        let bar = self.line().bar.clone();
        if bar.is_hidden() { write() } else { bar.suspend(write) }
    }

    /// Takes the line away until what this gives is dropped: for a question, which takes as long as it takes. What is said meanwhile is not held up.
    pub fn away(&self) -> Away {
        let mut line = self.line();
        let seen = line.bar.clone();
        line.away = true;
        line.place();
        drop(line);
        seen.finish_and_clear();
        Away(self.clone())
    }

    /// Standard error for log lines, which must not be drawn over.
    pub fn stderr(&self) -> Aside {
        Aside(self.clone())
    }
}

/// See [`ProgressLine::away`].
#[derive(Debug)]
pub struct Away(ProgressLine);

impl Drop for Away {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.away = false;
        line.place();
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
