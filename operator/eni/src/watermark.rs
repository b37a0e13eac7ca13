//! How many addresses a node shall have.

/// How many addresses a node shall have, beside those in use.
///
/// A node is asked for more when it has less than [`wanted`](Self::wanted), and then for
/// `max_above_watermark` more than that; it gives back what it has above that sum. Between the two
/// nothing happens, so that one pod that comes and goes causes no calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Never fewer than these, in use or not.
    pub min_allocate: u32,
    /// This many free ones, so that a pod gets its address at once.
    pub pre_allocate: u32,
    /// Never more than these. `None`: what the instance can have.
    pub max_allocate: Option<u32>,
    /// How many more are asked for whenever some are.
    pub max_above_watermark: u32,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { min_allocate: 0, pre_allocate: 8, max_allocate: None, max_above_watermark: 0 }
    }
}

impl Watermarks {
    /// Addresses that there shall be: those in use and as many free ones as are kept, or as pods wait
    /// for, whichever is more.
    pub fn wanted(&self, used: u32, pending: u32) -> u32 {
        let wanted = used.saturating_add(self.pre_allocate.max(pending)).max(self.min_allocate);
        wanted.min(self.max_allocate.unwrap_or(u32::MAX))
    }

    /// Addresses to ask for, where there are `available` now, used or not.
    pub fn missing(&self, used: u32, pending: u32, available: u32) -> u32 {
        let wanted = self.wanted(used, pending);
        if available >= wanted {
            return 0;
        }
        let target = wanted
            .saturating_add(self.max_above_watermark)
            .min(self.max_allocate.unwrap_or(u32::MAX));
        target - available
    }

    /// Addresses that can be given back.
    pub fn excess(&self, used: u32, pending: u32, available: u32) -> u32 {
        let kept = self.wanted(used, pending).saturating_add(self.max_above_watermark);
        available.saturating_sub(kept.max(used.saturating_add(pending)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marks(min: u32, pre: u32, max: Option<u32>, above: u32) -> Watermarks {
        Watermarks {
            min_allocate: min,
            pre_allocate: pre,
            max_allocate: max,
            max_above_watermark: above,
        }
    }

    #[test]
    fn missing_and_excess_by_table() {
        // (min, pre, max, above), (used, pending, available), missing, excess
        type Row = ((u32, u32, Option<u32>, u32), (u32, u32, u32), u32, u32);
        let table: [Row; 14] = [
            ((0, 8, None, 0), (0, 0, 0), 8, 0),
            ((0, 8, None, 0), (3, 0, 8), 3, 0),
            ((0, 8, None, 0), (0, 0, 8), 0, 0),
            ((0, 8, None, 0), (0, 0, 11), 0, 3),
            // min-allocate is there without a pod
            ((30, 8, None, 0), (0, 0, 0), 30, 0),
            ((30, 8, None, 0), (25, 0, 30), 3, 0),
            // max-above-watermark is asked for only with something else, and is kept
            ((0, 8, None, 4), (0, 0, 8), 0, 0),
            ((0, 8, None, 4), (1, 0, 8), 5, 0),
            ((0, 8, None, 4), (0, 0, 13), 0, 1),
            // max-allocate caps, and nothing in use is ever excess
            ((0, 8, Some(10), 4), (5, 0, 5), 5, 0),
            ((0, 8, Some(10), 0), (10, 0, 10), 0, 0),
            ((0, 8, Some(10), 0), (14, 0, 16), 0, 2),
            // surge: pods that wait, beyond what is kept free
            ((0, 8, None, 0), (0, 200, 8), 192, 0),
            ((0, 8, None, 0), (0, 5, 8), 0, 0),
        ];
        for ((min, pre, max, above), (used, pending, available), missing, excess) in table {
            let marks = marks(min, pre, max, above);
            let row = format!("{marks:?} with {used} used, {pending} pending of {available}");
            assert_eq!(marks.missing(used, pending, available), missing, "{row}");
            assert_eq!(marks.excess(used, pending, available), excess, "{row}");
        }
    }

    proptest! {
        #[test]
        fn what_was_asked_for_is_not_given_back_and_what_is_left_is_not_asked_for(
            (min, pre, above) in (0_u32..100, 0_u32..50, 0_u32..50),
            max in prop::option::of(100_u32..300),
            (used, pending, available) in (0_u32..200, 0_u32..100, 0_u32..400),
        ) {
            let marks = marks(min, pre, max, above);
            let missing = marks.missing(used, pending, available);
            prop_assert_eq!(marks.excess(used, pending, available + missing), if missing > 0 {
                0
            } else {
                marks.excess(used, pending, available)
            });
            let excess = marks.excess(used, pending, available);
            prop_assert_eq!(marks.missing(used, pending, available - excess), if excess > 0 {
                0
            } else {
                missing
            });
            prop_assert!(available - excess >= used.min(available));
        }
    }
}
