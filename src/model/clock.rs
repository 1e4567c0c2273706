//! Waiting between attempts, in one place, so that tests can make it shorter. Limits (`--timeout`, how long an answer may take) are real time.

use std::sync::OnceLock;
use std::time::Duration;

/// In a debug build, how many times as fast waits pass: for tests of programs that wait.
const RATE: &str = "AAWS_CLOCK_RATE";

/// Waits between attempts. A wait of some hours may be asked for.
pub async fn sleep(length: Duration) {
    tokio::time::sleep(length.div_f64(rate())).await;
}

/// How many times as fast as real time waits pass: 1 in a release build.
fn rate() -> f64 {
    static SET: OnceLock<f64> = OnceLock::new();
    if !cfg!(debug_assertions) {
        return 1.0;
    }
    *SET.get_or_init(|| {
        let set = std::env::var(RATE).ok().and_then(|rate| rate.parse::<f64>().ok());
        set.filter(|rate| rate.is_finite() && *rate >= 1.0).unwrap_or(1.0)
    })
}
