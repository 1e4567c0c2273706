//! Waits between attempts, longer and longer: the only place where their lengths are set.

use std::time::Duration;

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// What the next is of the one before.
    pub factor: f64,
    /// The share of a wait that is left to chance, so that workers do not come back all at once: 0 to 1.
    pub jitter: f64,
}

/// For an item that AWS asks to try again a little later.
const RETRY: Policy = Policy { first: Duration::from_millis(200), longest: Duration::from_secs(10), factor: 2.0, jitter: 0.5 };

/// For what AWS does in the background: what ends at once should not be waited for, and a job of hours is not worth more requests.
const POLL: Policy = Policy { first: Duration::from_millis(500), longest: Duration::from_secs(30), factor: 1.5, jitter: 0.0 };

/// A row of waits by one policy.
#[derive(Debug, Clone)]
pub struct Delays {
    policy: Policy,
    next: Duration,
    failed: u32,
}

impl Delays {
    /// Waits of this policy, from the first.
    pub fn with(policy: Policy) -> Self {
        Delays { policy, next: policy.first, failed: 0 }
    }

    /// For an item that may work a little later.
    pub fn retry() -> Self {
        Delays::with(RETRY)
    }

    /// For the state of something that changes in the background.
    pub fn poll() -> Self {
        Delays::with(POLL)
    }

    /// How long to wait now; the next wait is longer.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.mul_f64(self.policy.factor).min(self.policy.longest);
        wait.mul_f64(1.0 - self.policy.jitter * fastrand::f64())
    }

    /// How many attempts in a row failed, with this one.
    pub fn failed(&mut self) -> u32 {
        self.failed += 1;
        self.failed
    }

    /// An attempt did not fail.
    pub fn succeeded(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest() {
        let mut backoff = Delays::poll();
        let waits: Vec<u128> = (0..14).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits[..3], [500, 750, 1125]);
        assert_eq!(waits[13], 30_000);
        let mut retry = Delays::retry();
        assert!((100..=200).contains(&retry.next_wait().as_millis()));
    }
}
