//! Taking what was triggered part by part.

use tidecast_stream::{EventTime, RecordPosition};

use super::super::contexts::{PartLimit, SeriesContext};
use super::super::json;
use super::super::output::{ClosedWindow, WindowError};
use super::{Windower, WindowerOutput, bad};
use crate::spec::Refresh;

/// What is still to be taken from what was fed.
#[derive(Debug)]
pub(super) enum Pending {
    /// The rows of a closed window, from this one on.
    Window(ClosedWindow, usize),
    /// The contexts of series at the end of a bounded source.
    AtEnd(std::vec::IntoIter<Box<[u8]>>),
}

impl Windower {
    /// Returns whether [`take_part`](Self::take_part) has more to say of what was fed.
    pub fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns the next part of what was fed leads to: the first also has all that is
    /// no context.
    ///
    /// # Errors
    /// If a window's rows are not of the view's schema, which is a bug.
    pub fn take_part(&mut self, limit: PartLimit) -> Result<WindowerOutput, WindowError> {
        let mut output = std::mem::take(&mut self.said);
        let mut bytes = 0;
        while let Some(pending) = self.pending.pop_front() {
            let room = PartLimit {
                series: limit.series.saturating_sub(output.contexts.len()),
                bytes: limit.bytes.saturating_sub(bytes),
            };
            let before = output.contexts.len();
            let left = match pending {
                Pending::Window(window, row) => self.absorb(window, row, room, &mut output)?,
                Pending::AtEnd(keys) => self.take_ends(keys, room, &mut output)?,
            };
            if let Some(left) = left {
                self.pending.push_front(left);
            }
            bytes += output.contexts.iter().skip(before).map(SeriesContext::bytes).sum::<usize>();
            if limit.is_reached(output.contexts.len(), bytes) {
                break;
            }
        }
        if self.pending.is_empty() && std::mem::take(&mut self.has_closed) {
            self.reach = self.rings.reaches_back_to(self.windows);
            let reach = self.reach.map_or(EventTime::from_micros(i64::MAX), EventTime::from_micros);
            self.closed.retain(|(start, _)| *start >= reach);
        }
        Ok(output)
    }

    /// Brings everything that was fed into the contexts without making any of those
    /// that are due: what they led to is out already.
    ///
    /// # Errors
    /// As [`take_part`](Self::take_part).
    pub fn discard_parts(&mut self) -> Result<(), WindowError> {
        let refresh = std::mem::replace(&mut self.refresh, Refresh::AtEnd);
        let discarded = self.take_all();
        self.refresh = refresh;
        discarded.map(drop)
    }

    pub(super) fn take_all(&mut self) -> Result<WindowerOutput, WindowError> {
        let mut all = self.take_part(PartLimit::NONE)?;
        while self.has_more() {
            all.append(self.take_part(PartLimit::NONE)?);
        }
        Ok(all)
    }

    /// Brings all closed windows into the contexts; what comes of them is said with the
    /// next part.
    pub(super) fn absorb_all(&mut self) -> Result<(), WindowError> {
        self.said = self.take_all()?;
        Ok(())
    }

    /// Takes rows of a closed window into their contexts; returns what is left of it.
    fn absorb(
        &mut self,
        window: ClosedWindow,
        row: usize,
        limit: PartLimit,
        output: &mut WindowerOutput,
    ) -> Result<Option<Pending>, WindowError> {
        let refresh = self.refresh;
        let is_due = |step: i64| match refresh {
            Refresh::OnClose => true,
            Refresh::Every(steps) => {
                step.rem_euclid(i64::try_from(steps.max(1)).unwrap_or(i64::MAX)) == 0
            }
            Refresh::AtEnd => false,
        };
        let absorbed = self.rings.absorb(&window, row, limit, is_due)?;
        output.contexts.extend(absorbed.contexts);
        output.steps += absorbed.steps;
        output.gap_steps += absorbed.gap_steps;
        output.missing_values += absorbed.missing_values;
        if let Some(partition) = &self.partition {
            for (row, reason) in absorbed.refused {
                let payload = json::some_objects(&window.rows, &[row]).concat();
                let offset = window.first_offset;
                let position = RecordPosition { partition: partition.clone(), offset };
                output.bad.push(bad(position, Some(payload), reason));
            }
        }
        if absorbed.next < window.rows.num_rows() {
            return Ok(Some(Pending::Window(window, absorbed.next)));
        }
        output.windows_closed += 1;
        self.has_closed = true;
        self.closed.push_back((window.start, window.first_offset));
        Ok(None)
    }

    /// Takes contexts at the end of a bounded source; returns the series that are left.
    fn take_ends(
        &mut self,
        mut keys: std::vec::IntoIter<Box<[u8]>>,
        limit: PartLimit,
        output: &mut WindowerOutput,
    ) -> Result<Option<Pending>, WindowError> {
        output.contexts.extend(self.rings.final_contexts(&mut keys, limit)?);
        Ok((keys.len() > 0).then_some(Pending::AtEnd(keys)))
    }
}

impl WindowerOutput {
    /// Adds what comes behind it.
    fn append(&mut self, other: Self) {
        self.contexts.extend(other.contexts);
        self.late.extend(other.late);
        self.bad.extend(other.bad);
        self.windows_closed += other.windows_closed;
        self.rows += other.rows;
        self.steps += other.steps;
        self.gap_steps += other.gap_steps;
        self.missing_values += other.missing_values;
    }
}
