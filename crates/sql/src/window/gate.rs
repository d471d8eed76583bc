//! The watermark, and the gate that late rows do not pass.

use std::collections::HashMap;

use arrow::array::UInt32Array;
use tidecast_stream::{EventTime, Watermark};

use super::clock::Times;
use super::output::LateRow;
use super::query::QueryPlan;

/// Decides row by row, in order, what is late.
pub(super) struct Gate<'a> {
    plan: &'a QueryPlan,
    times: &'a Times,
    /// Whether the row says how far time has come.
    moves: &'a [bool],
    /// Whether the watermark stays until the source has ended: nothing is late.
    until_end: bool,
    pub(super) watermark: Watermark,
    /// The greatest event time that moved it.
    newest: Option<i64>,
    /// Rows before this one are in the watermark.
    next: usize,
}

impl<'a> Gate<'a> {
    pub(super) fn new(
        plan: &'a QueryPlan,
        watermark: Watermark,
        times: &'a Times,
        moves: &'a [bool],
        until_end: bool,
    ) -> Self {
        Self { plan, times, moves, until_end, watermark, newest: None, next: 0 }
    }

    /// Groups rows by the first instant of their window; `origin` are their
    /// indices in the batch, ascending, and the answer holds indices into it.
    ///
    /// Begins at index `from` of `origin`. Where `oldest_end` is given, the end of
    /// the oldest open window, it stops before the first row that comes after a
    /// window has become complete; the answer's second part is where.
    pub(super) fn sort_into_windows(
        &mut self,
        origin: &UInt32Array,
        from: usize,
        mut oldest_end: Option<i64>,
        late: &mut Vec<LateRow>,
    ) -> (Vec<(i64, Vec<u32>)>, usize) {
        let mut windows: Vec<(i64, Vec<u32>)> = Vec::new();
        let mut place: HashMap<i64, usize> = HashMap::new();
        // Neighbours mostly share their window: its start, end and place.
        let mut last = (i64::MIN, EventTime::MIN, None);
        for (index, row) in origin.values().iter().enumerate().skip(from) {
            let row = *row as usize;
            self.advance_before(row);
            if oldest_end.is_some_and(|end| self.watermark.has_passed(EventTime::from_micros(end)))
            {
                return (windows, index);
            }
            let Some(start) = self.times.starts.get(row).copied() else { continue };
            if last.0 != start {
                last = (start, EventTime::from_micros(self.plan.end_of(start)), None);
            }
            let window_end = last.1;
            if self.watermark.has_passed(window_end) {
                late.push(LateRow { row, window_end, watermark: self.watermark });
                continue;
            }
            let at = *last.2.get_or_insert_with(|| {
                *place.entry(start).or_insert_with(|| {
                    windows.push((start, Vec::new()));
                    windows.len() - 1
                })
            });
            if let Some((_, members)) = windows.get_mut(at) {
                members.push(index as u32);
            }
            oldest_end = oldest_end.map(|end| end.min(window_end.as_micros()));
        }
        (windows, origin.len())
    }

    /// Takes the rest of the batch in, and returns the watermark behind it and
    /// the batch's greatest event time that counts for it.
    pub(super) fn finish(mut self) -> (Watermark, Option<i64>) {
        self.advance_before(self.times.micros.len());
        (self.watermark, self.newest)
    }

    fn advance_before(&mut self, row: usize) {
        if self.until_end {
            return;
        }
        let times = self.times.micros.get(self.next..row).unwrap_or_default();
        let moves = self.moves.get(self.next..row).unwrap_or_default();
        let greatest =
            times.iter().zip(moves).filter(|(_, moves)| **moves).map(|(micros, _)| micros).max();
        if let Some(greatest) = greatest {
            let time = greatest.saturating_sub(self.plan.source.delay_micros);
            self.watermark.advance(EventTime::from_micros(time));
            self.newest = self.newest.max(Some(*greatest));
        }
        self.next = self.next.max(row);
    }
}
