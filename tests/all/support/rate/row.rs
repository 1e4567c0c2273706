//! A row of the table, and whether it is as it must be.

use std::time::Duration;

use super::meter::Meter;
use super::run::{CONCURRENCY, Run};

/// How much longer than the optimum a run may take: so many times, and so many seconds for its start and its first looks.
const MOST_RATIO: f64 = 1.3;
const START: f64 = 2.0;

/// The share of throttled answers that a run has to stay below in steady state.
const MOST_THROTTLED: f64 = 0.25;

/// How many lines of a run's log are shown when something is wrong.
const LOG_LINES: usize = 4;

/// The longest that a run may take that a limit holds back for so many seconds.
pub fn most_wall(optimum: f64) -> f64 {
    optimum * MOST_RATIO + START
}

/// How long to wait for a run before it is killed: far longer than it may take, so that the table shows how much too long it is.
pub fn patience(most: f64) -> Duration {
    Duration::from_secs_f64(most * 4.0 + 30.0)
}

/// What is shown of a run.
pub struct Row {
    case: String,
    n: usize,
    optimum: Option<f64>,
    wall: f64,
    throttled: Option<f64>,
    failed: usize,
    exit: Option<i32>,
    in_flight: usize,
    calls: usize,
    /// What is not as it must be.
    broken: Vec<String>,
    log: Vec<String>,
    operations: String,
}

impl Row {
    /// Of a run that may have [`CONCURRENCY`] requests in flight.
    pub fn of(case: &str, n: usize, run: &Run, meter: &Meter) -> Self {
        Self::with_concurrency(case, n, run, meter, CONCURRENCY)
    }

    /// Of a run that may have so many requests in flight.
    pub fn with_concurrency(case: &str, n: usize, run: &Run, meter: &Meter, concurrency: usize) -> Self {
        let lines: Vec<&str> = run.stderr.lines().collect();
        let row = Self {
            case: case.to_owned(),
            n,
            optimum: None,
            wall: run.wall.as_secs_f64(),
            throttled: meter.throttled_share(),
            failed: 0,
            exit: run.exit,
            in_flight: meter.in_flight(),
            calls: meter.calls(),
            broken: Vec::new(),
            log: lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| line.chars().take(200).collect()).collect(),
            operations: format!("{:?}", meter.operations()),
        };
        let in_flight = row.in_flight;
        row.must(in_flight <= concurrency, || format!("{in_flight} requests in flight, with --concurrency {concurrency}"))
    }

    /// Everything was done: so many items were not.
    pub fn all_done(mut self, failed: usize) -> Self {
        self.failed = failed;
        let exit = self.exit;
        self.must(failed == 0, || format!("{failed} items failed")).must(exit == Some(0), || format!("exit {exit:?}"))
    }

    /// It took not much longer than the limit makes it, of which few answers had to remind it.
    pub fn near(mut self, optimum: f64) -> Self {
        self.optimum = Some(optimum);
        let throttled = self.throttled.unwrap_or_default();
        let row = self.within(most_wall(optimum));
        row.must(throttled < MOST_THROTTLED, || format!("{:.0}% of the answers are throttled", throttled * 100.0))
    }

    /// It took no longer than this, in seconds.
    pub fn within(self, most: f64) -> Self {
        let wall = self.wall;
        self.must(wall <= most, || format!("{wall:.1} s, more than {most:.1} s"))
    }

    /// It made no more calls than this.
    pub fn calls_at_most(self, most: usize) -> Self {
        let calls = self.calls;
        self.must(calls <= most, || format!("{calls} calls, more than {most}"))
    }

    pub fn must(mut self, holds: bool, otherwise: impl FnOnce() -> String) -> Self {
        if !holds {
            self.broken.push(otherwise());
        }
        self
    }

    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// The line above the rows.
    pub fn print_head() {
        println!(
            "{:<50} {:>6} {:>8} {:>8} {:>6} {:>9} {:>7} {:>5} {:>9} {:>6}",
            "case", "n", "optimum", "wall", "ratio", "throttled", "failed", "exit", "in flight", "calls"
        );
    }

    pub fn print(&self) {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let optimum = or_dash(self.optimum.map(|o| format!("{o:.1} s")));
        let ratio = or_dash(self.optimum.filter(|o| *o > 0.0).map(|o| format!("{:.2}", self.wall / o)));
        let throttled = or_dash(self.throttled.map(|share| format!("{:.0}%", share * 100.0)));
        let exit = self.exit.map_or("killed".to_owned(), |code| code.to_string());
        let wall = format!("{:.1} s", self.wall);
        println!(
            "{:<50} {:>6} {optimum:>8} {wall:>8} {ratio:>6} {throttled:>9} {:>7} {exit:>5} {:>9} {:>6}",
            self.case, self.n, self.failed, self.in_flight, self.calls
        );
        for why in &self.broken {
            println!("    FAILED: {why}");
        }
        if self.is_broken() {
            println!("    calls: {}", self.operations);
            self.log.iter().for_each(|line| println!("    log: {line}"));
        }
    }
}
