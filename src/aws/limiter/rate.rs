//! The arithmetic of one key: a token bucket whose refill rate follows what the service accepts.
//!
//! The rate falls when a request is throttled and rises, as long as it is what limits, along a cubic curve (the idea of TCP CUBIC, RFC 9438):
//! soon back near the peak that the service is known to allow, level there, then upwards ever faster. The peak is measured: a service that
//! throttles has an empty bucket, so what it accepts from one throttle to another is what its bucket is refilled with.

use std::time::Duration;

use tokio::time::Instant;

use super::known::Known;

/// What is left of the rate after a throttle.
const DECREASE: f64 = 0.8;

/// The least requests per second, however much is throttled: of an unknown rate, and of a documented one unless that is less than twice this.
const FLOOR: f64 = 0.5;
const FLOOR_KNOWN: f64 = 1.0;

/// Seconds in which the rate returns to its peak after a decrease.
const RETURN: f64 = 2.0;

/// A probe above the peak ends with a throttled request, which must stay a small share of all. So the curve's seconds last longer at low rates:
/// as long as so many requests take, within these limits.
const PROBE: f64 = 16.0;
const PROBE_SECONDS: (f64, f64) = (0.5, 4.0);

/// The plateau of the curve, in its seconds from the decrease.
const PLATEAU: f64 = 2.0;

/// The same where documentation agrees with the peak, and the least seconds of the plateau there: there is little to learn.
const PROBE_KNOWN: f64 = 10.0;
const PLATEAU_KNOWN: f64 = 10.0;

/// How steep the curve is behind the plateau: 3 % above the peak after one of its seconds, 24 % after two, twice the peak after 3.2.
const STEEPNESS: f64 = 0.03;

/// Seconds in which the rate doubles while nothing is known about the peak.
const DOUBLING: f64 = 0.3;

/// A limit is lifted when the rate reaches so many peaks, or after so many seconds without a throttle while nothing is known about the peak.
const LIFTED_AT: f64 = 4.0;
const LIFTED_AFTER: f64 = 3.0;

/// A peak is measured by this many accepted requests at least, the first over so many round trips, as what was sent before a decrease still
/// empties the service's bucket after it; and anew after so many requests.
const MEASURED_BY: f64 = 4.0;
const MEASURED_OVER: f64 = 2.0;
const MEASURED_ANEW: f64 = 30.0;

/// After so many seconds in which fewer tokens were accepted than [`MEASURED_BY`], the bucket is slow, and the first measurement waits no longer:
/// while no peak is known the rate doubles with each request of so slow a bucket, and every other one would be throttled.
const SLOW_AFTER: f64 = 1.0;

/// Seconds' worth of tokens that a learnt bucket holds beyond one request: evens out the milliseconds of timers.
const SLACK: f64 = 0.02;

/// Tokens accepted until some time.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    accepted: f64,
}

/// The rate of one key.
#[derive(Debug)]
pub(super) struct Rate {
    known: Option<&'static Known>,
    /// Tokens per second that refill the bucket; none: not limited.
    pace: Option<f64>,
    /// May be negative, after a request heavier than the bucket.
    tokens: f64,
    refilled: Instant,
    /// What a request weighs, a moving average.
    unit: f64,
    /// Seconds of a round trip, a moving average.
    round_trip: f64,
    /// Whether requests have had to wait since the bucket was last full: the rate is what limits.
    limiting: bool,
    /// Counts the decreases: what was sent before the last of them does not decrease again.
    epoch: u64,
    decreased: Option<Mark>,
    throttled: Option<Instant>,
    /// The rate that the service is thought to allow.
    peak: Option<f64>,
    /// The rate right after the last decrease.
    low: f64,
    /// Seconds since the last decrease in which the rate was what limited.
    clock: f64,
    ticked: Instant,
    /// Tokens accepted in all.
    accepted: f64,
    /// Where the last two seconds began in which something was accepted.
    window: [Mark; 2],
    /// A throttle since which the rate has limited without a break: the start of a measurement.
    anchor: Option<Mark>,
}

impl Rate {
    pub fn new(known: Option<&'static Known>, now: Instant) -> Self {
        let mark = Mark { at: now, accepted: 0.0 };
        let mut rate = Rate {
            known,
            pace: known.map(|known| known.rate),
            // The service may count a request that is on its way a little earlier than we do.
            tokens: known.map_or(0.0, |known| (known.burst - 1.0).max(1.0)),
            refilled: now,
            unit: 1.0,
            round_trip: 0.1,
            limiting: false,
            epoch: 0,
            decreased: None,
            throttled: None,
            peak: None,
            low: known.map_or(0.0, |known| known.rate),
            clock: 0.0,
            ticked: now,
            accepted: 0.0,
            window: [mark, mark],
            anchor: None,
        };
        rate.peak = rate.documented();
        rate
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When something was last throttled.
    pub fn throttled_at(&self) -> Option<Instant> {
        self.throttled
    }

    /// Tokens per second that requests go at: the limit, or what was accepted lately where there is none.
    pub fn per_second(&self, now: Instant) -> f64 {
        self.pace.unwrap_or_else(|| self.recent(now).0)
    }

    /// Takes `weight` tokens, or says how long to wait before asking again. A request heavier than the bucket only needs it not to be in debt.
    pub fn take(&mut self, now: Instant, weight: u32, waited: bool) -> Result<(), Duration> {
        let weight = f64::from(weight);
        if let Some(pace) = self.pace {
            self.refill(now);
            let burst = self.burst(pace);
            let needed = if weight <= burst { weight } else { 0.0 };
            // Rounding must not cost another wait.
            if self.tokens < needed - 1e-6 {
                self.limiting = true;
                return Err(Duration::try_from_secs_f64((needed - self.tokens) / pace).unwrap_or(Duration::from_secs(3600)));
            }
            // More than what pacing leaves over: there was nothing to send for a while.
            self.limiting &= waited || self.tokens < (0.9 * burst).min(2.0 * self.unit + 0.25 * pace);
            self.tokens -= weight;
        }
        self.unit += (weight.max(1.0) - self.unit) * if self.accepted == 0.0 { 1.0 } else { 0.2 };
        Ok(())
    }

    /// An answer came this long after its request.
    pub fn round_trip(&mut self, took: Duration) {
        self.round_trip += (took.as_secs_f64() - self.round_trip) * 0.2;
    }

    /// The service accepted `weight` tokens. True when that lifted the limit.
    pub fn accepted(&mut self, now: Instant, weight: u32) -> bool {
        self.accepted += f64::from(weight);
        if now - self.window[1].at >= Duration::from_secs(1) {
            self.window = [self.window[1], self.mark(now)];
        }
        let Some(pace) = self.pace else { return false };
        let seconds = (now - self.ticked).as_secs_f64().min(1.5 * self.unit / pace + 0.5);
        self.ticked = now;
        if !self.limiting {
            // The service's bucket fills: what it accepts from here on is not what refills it.
            self.anchor = None;
            return false;
        }
        self.clock += seconds;
        let curve = match self.peak {
            None => pace * (seconds / DOUBLING).exp2(),
            Some(peak) if self.clock < RETURN => peak - (peak - self.low) * (1.0 - self.clock / RETURN).powi(3),
            Some(peak) => self.probe(peak),
        };
        self.refill(now);
        // At most twice as fast for each answer: the rate follows what is accepted, not the time that passes.
        self.pace = Some(curve.clamp(pace, 2.0 * pace));
        let lifted = self.peak.map_or(self.clock >= LIFTED_AFTER, |peak| pace >= LIFTED_AT * peak);
        if !lifted || self.documented().is_some() {
            return false;
        }
        (self.pace, self.peak, self.anchor) = (None, None, None);
        true
    }

    /// The service throttled a request that was sent in `epoch`.
    pub fn throttled(&mut self, now: Instant, epoch: u64) {
        self.throttled = Some(now);
        if epoch == self.epoch {
            self.decrease(now);
        }
    }

    /// The service throttled `weight` items of a request that it otherwise accepted, and that was counted so.
    pub fn throttled_items(&mut self, now: Instant, weight: u32) {
        self.accepted = (self.accepted - f64::from(weight)).max(0.0);
        self.throttled = Some(now);
        if self.decreased.is_none_or(|last| (now - last.at).as_secs_f64() >= self.round_trip) {
            self.decrease(now);
        }
    }

    fn decrease(&mut self, now: Instant) {
        self.refill(now);
        self.epoch += 1;
        let last = self.decreased.replace(self.mark(now));
        let full = self.tokens >= self.unit && !self.limiting;
        self.tokens = self.tokens.min(0.0);
        if self.known.is_some() && self.pace.is_some() && full {
            // Somebody else spent the burst. That says nothing about the rate.
            self.anchor = Some(self.mark(now));
            return;
        }
        let before = match self.pace {
            Some(pace) if self.limiting => pace,
            pace => {
                let (recent, whole) = self.recent(now);
                (self.peak, self.anchor) = (whole.then_some(recent), None);
                // One request per round trip is what even a single connection would send.
                let before = if whole { recent } else { recent.max(self.unit / self.round_trip.max(0.001)) };
                before.min(pace.unwrap_or(f64::INFINITY))
            }
        };
        // Far above the peak the service's bucket was not empty all the time: the next measurement starts here.
        let climbed = self.peak.is_some_and(|peak| before > 1.5 * peak);
        let mut after = before;
        if let Some(anchor) = self.anchor {
            let requests = ((self.accepted - anchor.accepted) / self.unit).max(0.0);
            let seconds = (now - anchor.at).as_secs_f64().max(0.001);
            let long = self.peak.is_some() || seconds >= MEASURED_OVER * self.round_trip;
            // Throttles in a row say nothing of the kind: something has to be accepted between this one and the last.
            let by_turns = last.is_some_and(|last| self.accepted > last.accepted);
            let slow = self.peak.is_none() && seconds >= SLOW_AFTER && self.accepted - anchor.accepted < MEASURED_BY && by_turns;
            let measured = (slow || requests >= MEASURED_BY) && long;
            if measured {
                after = if slow {
                    // An empty bucket that would have had one more for this request.
                    after.min((requests + 1.0) / seconds * self.unit)
                } else {
                    // Halfway: a bucket that holds little loses tokens whenever requests come unevenly, so that less is accepted than is allowed.
                    f64::midpoint(after, after.min(requests / seconds * self.unit))
                };
                self.peak = Some(after);
            } else {
                // No more than so many is likely, when so few were accepted (the upper bound of a Poisson rate).
                let most = (requests + 2.0 * requests.sqrt() + 3.0) / seconds * self.unit;
                after = after.min(most);
                self.peak = self.peak.filter(|peak| *peak <= most).or(self.documented());
            }
            if climbed || measured && requests >= MEASURED_ANEW {
                self.anchor = None;
            }
        }
        self.anchor = self.anchor.or(Some(self.mark(now)));
        let floor = self.documented().map_or(FLOOR * self.unit, |rate| FLOOR_KNOWN.min(rate / 2.0));
        self.low = (after * DECREASE).max(floor);
        self.pace = Some(self.low);
        self.limiting = true;
        (self.clock, self.ticked) = (0.0, now);
    }

    fn refill(&mut self, now: Instant) {
        if let Some(pace) = self.pace {
            self.tokens = (self.tokens + (now - self.refilled).as_secs_f64() * pace).min(self.burst(pace));
        }
        self.refilled = now;
    }

    /// The documented rate, where that is what the key as a whole gets.
    fn documented(&self) -> Option<f64> {
        self.known.filter(|known| !known.at_least).map(|known| known.rate)
    }

    /// The most tokens that the bucket holds.
    fn burst(&self, pace: f64) -> f64 {
        self.known.map_or(0.0, |known| known.burst).max(self.unit + SLACK * pace)
    }

    /// The curve from the plateau on.
    fn probe(&self, peak: f64) -> f64 {
        let period = self.unit / peak;
        let (plateau, second) = if self.documented().is_some_and(|rate| (0.9..1.5).contains(&(peak / rate))) {
            let second = (PROBE_KNOWN * period).max(PROBE_SECONDS.0);
            ((PLATEAU * second).max(PLATEAU_KNOWN), second)
        } else {
            let second = (PROBE * period).clamp(PROBE_SECONDS.0, PROBE_SECONDS.1);
            (PLATEAU * second, second)
        };
        peak * (1.0 + STEEPNESS * ((self.clock - plateau) / second).max(0.0).powi(3))
    }

    /// Tokens per second accepted lately, and whether that covers at least a second and so says something about the service.
    fn recent(&self, now: Instant) -> (f64, bool) {
        let seconds = (now - self.window[0].at).as_secs_f64();
        if seconds > 3.0 {
            return (0.0, false);
        }
        let rate = (self.accepted - self.window[0].accepted) / seconds.max(1.0);
        (rate, rate > 0.0 && seconds >= 1.0)
    }

    fn mark(&self, now: Instant) -> Mark {
        Mark { at: now, accepted: self.accepted }
    }
}
