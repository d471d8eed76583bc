//! Where the windows of a backtest lie.

/// The rolling origins of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    /// Steps that are forecast, at least 1.
    pub(super) horizon: usize,
    /// Steps from one origin to the next, at least 1.
    pub(super) stride: usize,
    /// Windows of a series that is long enough for all, at least 1.
    pub(super) windows: usize,
}

impl Placement {
    /// Returns the windows for a series of `length` steps, the oldest first: each
    /// is given by its first step, and everything before that is its past. The
    /// last one ends where the series does. A window without a past does not fit.
    pub(super) fn origins(self, length: usize) -> impl Iterator<Item = usize> {
        let last = length.checked_sub(self.horizon);
        (0..self.windows).rev().filter_map(move |back| {
            let origin = last?.checked_sub(self.stride.checked_mul(back)?)?;
            (origin > 0).then_some(origin)
        })
    }

    /// Returns how many windows do not fit into a series of `length` steps.
    pub(super) fn left_out(self, length: usize) -> usize {
        self.windows - self.origins(length).count()
    }
}

/// Returns how many windows GIFT-Eval takes (Aksu et al. 2024, arXiv 2410.10393):
/// as many horizons as a tenth of the shortest series holds, rounded up, at most
/// 20 and at least 1.
pub(super) fn gift_windows(shortest: usize, horizon: usize) -> usize {
    // ceil(0.1 * shortest / horizon), in whole numbers.
    shortest.div_ceil(horizon.saturating_mul(10).max(1)).clamp(1, 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(horizon: usize, stride: usize, windows: usize, length: usize) -> Vec<usize> {
        Placement { horizon, stride, windows }.origins(length).collect()
    }

    #[test]
    fn the_last_window_ends_with_the_series() {
        assert_eq!(origins(10, 10, 3, 100), [70, 80, 90]);
        assert_eq!(origins(10, 4, 3, 100), [82, 86, 90]);
        assert_eq!(origins(10, 25, 2, 100), [65, 90]);
    }

    #[test]
    fn a_window_needs_a_past() {
        assert_eq!(origins(10, 10, 3, 25), [5, 15]);
        assert_eq!(origins(10, 10, 3, 11), [1]);
        assert!(origins(10, 10, 3, 10).is_empty());
        assert_eq!(origins(10, usize::MAX, 3, 12), [2]);
        assert_eq!(Placement { horizon: 10, stride: 10, windows: 3 }.left_out(25), 1);
    }

    #[test]
    fn the_rule_of_gift_eval_gives_its_numbers() {
        // ETT's 17,420 hours at three horizons, US births' 7,305 days, and ends.
        for (shortest, horizon, windows) in [
            (17_420, 48, 20),
            (17_420, 480, 4),
            (17_420, 720, 3),
            (7_305, 30, 20),
            (100, 10, 1),
            (101, 10, 2),
            (5, 10, 1),
        ] {
            assert_eq!(gift_windows(shortest, horizon), windows, "{shortest}, {horizon}");
        }
    }
}
