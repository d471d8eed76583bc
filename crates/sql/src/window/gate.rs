//! The watermark, and the gate that late rows do not pass.

use std::collections::HashMap;

use datafusion::arrow::array::UInt32Array;
use tidecast_stream::{EventTime, Watermark};

use super::clock::Times;
use super::operator::LateRow;
use super::query::QueryPlan;

/// Decides row by row, in order, what is late.
pub(super) struct Gate<'a> {
    plan: &'a QueryPlan,
    times: &'a Times,
    usable: &'a [bool],
    watermark: Watermark,
    /// Rows before this one are in the watermark.
    next: usize,
}

impl<'a> Gate<'a> {
    pub(super) fn new(
        plan: &'a QueryPlan,
        watermark: Watermark,
        times: &'a Times,
        usable: &'a [bool],
    ) -> Self {
        Self { plan, times, usable, watermark, next: 0 }
    }

    /// Groups rows by the first instant of their window; `origin` are their
    /// indices in the batch, ascending, and the answer holds indices into it.
    pub(super) fn sort_into_windows(
        &mut self,
        origin: &UInt32Array,
        late: &mut Vec<LateRow>,
    ) -> Vec<(i64, Vec<u32>)> {
        let mut windows: Vec<(i64, Vec<u32>)> = Vec::new();
        let mut place: HashMap<i64, usize> = HashMap::new();
        // Neighbours mostly share their window.
        let mut last = (i64::MIN, 0);
        for (index, row) in origin.values().iter().enumerate() {
            let row = *row as usize;
            self.advance_before(row);
            let Some(start) = self.times.starts.get(row).copied() else { continue };
            let window_end = EventTime::from_micros(start + self.plan.size_micros);
            if self.watermark.has_passed(window_end) {
                late.push(LateRow { row, window_end, watermark: self.watermark });
                continue;
            }
            if last.0 != start {
                let at = *place.entry(start).or_insert_with(|| {
                    windows.push((start, Vec::new()));
                    windows.len() - 1
                });
                last = (start, at);
            }
            if let Some((_, members)) = windows.get_mut(last.1) {
                members.push(index as u32);
            }
        }
        windows
    }

    /// Takes the rest of the batch in, and returns the watermark behind it.
    pub(super) fn finish(mut self) -> Watermark {
        self.advance_before(self.times.micros.len());
        self.watermark
    }

    fn advance_before(&mut self, row: usize) {
        let times = self.times.micros.get(self.next..row).unwrap_or_default();
        let usable = self.usable.get(self.next..row).unwrap_or_default();
        let greatest =
            times.iter().zip(usable).filter(|(_, usable)| **usable).map(|(micros, _)| micros).max();
        if let Some(greatest) = greatest {
            let time = greatest.saturating_sub(self.plan.source.delay_micros);
            self.watermark.advance(EventTime::from_micros(time));
        }
        self.next = self.next.max(row);
    }
}
