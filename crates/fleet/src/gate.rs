//! Lets a crowd through one by one: at most so many connects per second, first come, first served.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A gate with a rate.
#[derive(Debug)]
pub struct Gate {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Gate {
    /// Lets `per_sec` through each second, evenly; 0 lets everyone through at once.
    #[must_use]
    pub fn per_sec(per_sec: u32) -> Gate {
        let interval = if per_sec == 0 { Duration::ZERO } else { Duration::from_secs(1) / per_sec };
        Gate { interval, next: Mutex::new(None) }
    }

    /// Waits for one's turn. A turn that is given up is lost; nobody behind moves up.
    pub async fn pass(&self) {
        if self.interval.is_zero() {
            return;
        }
        let turn = {
            let now = Instant::now();
            let mut next = self.next.lock().expect("nothing can panic while the gate is held");
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + self.interval);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_per_second_take_a_second() {
        let gate = Gate::per_sec(100);
        let begin = Instant::now();
        for _ in 0..=100 {
            gate.pass().await;
        }
        let took = begin.elapsed();
        assert!((1_000..1_200).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_time_is_not_saved_up_for_a_burst() {
        let gate = Gate::per_sec(10);
        gate.pass().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let begin = Instant::now();
        for _ in 0..=10 {
            gate.pass().await;
        }
        assert!(begin.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_gate() {
        let gate = Gate::per_sec(0);
        let begin = Instant::now();
        for _ in 0..1_000 {
            gate.pass().await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
