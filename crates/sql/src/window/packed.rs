//! Numbers in a ring, in as few bytes each as give them back to the bit.
//!
//! The values of one series are alike: readings are decimals of a few digits, and means
//! lie within some powers of two of each other. So each value is a whole number
//! ([`Scale`]), and a ring keeps by how much it is above the least one it has room for, in 1 to 7
//! bytes, the same for all. Missing values, 0 and -0 have codes of their own, since they
//! lie apart from the others. Where that is no use, values are kept in 8 bytes as they are.
//!
//! A value that the form of a ring cannot say changes the form, which is to go through
//! all values; forms leave room on both sides, so that this is seldom, and a ring is
//! looked at anew now and then, since what made it wide leaves it again
//! ([`PackedRing::repack`]).

mod form;

#[cfg(test)]
mod tests;

use form::Form;

/// A ring of numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct PackedRing {
    /// Codes of `form.width` bytes each.
    codes: Box<[u8]>,
    form: Form,
    /// The place of the oldest one. A context has 100,000 steps at most.
    start: u32,
    len: u32,
}

/// Room of a ring that has its first value, and how many times it grows at once: a few
/// times until a context is full, since what each time lets go lies between other rings.
const FIRST_ROOM: usize = 8;
const GROWS_BY: usize = 8;

impl PackedRing {
    /// Returns a ring of these values.
    pub(super) fn of(values: &[f64]) -> Self {
        let mut ring = Self::default();
        ring.lay_out(values, values.len(), Form::of(values));
        ring
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes its values take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.codes.len()
    }

    pub(super) fn front(&self) -> Option<f64> {
        let code = self.codes.get(self.place(0)).filter(|_| !self.is_empty())?;
        Some(self.form.value(form::read(code)))
    }

    pub(super) fn pop_front(&mut self) -> Option<f64> {
        let value = self.front()?;
        self.start = if self.start as usize + 1 == self.room() { 0 } else { self.start + 1 };
        self.len -= 1;
        Some(value)
    }

    /// Adds a value behind the newest one. There will not be more than `most` at a time:
    /// room grows up to that.
    pub(super) fn push_back(&mut self, value: f64, most: usize) {
        let has_room = self.len() < self.room();
        let Some(code) = self.form.code(value).filter(|_| has_room) else {
            let mut values = Vec::with_capacity(self.len() + 1);
            self.append_to(&mut values);
            values.push(value);
            let room = self.room_for(values.len(), most);
            return self.lay_out(&values, room, Form::of(&values));
        };
        let place = self.place(self.len());
        if let Some(place) = self.codes.get_mut(place) {
            form::write(place, code);
        }
        self.len += 1;
    }

    /// Takes a narrower form if there is one by now.
    pub(super) fn repack(&mut self) {
        let values = self.to_vec();
        let form = Form::of(&values);
        if form.width() < self.form.width() {
            self.lay_out(&values, self.room(), form);
        }
    }

    /// Returns the values from the oldest one on.
    pub(super) fn to_vec(&self) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.len());
        self.append_to(&mut values);
        values
    }

    /// Appends the values, oldest first.
    pub(super) fn append_to(&self, values: &mut Vec<f64>) {
        let width = self.form.width();
        let (before, after) =
            self.codes.split_at_checked(self.start as usize * width).unwrap_or_default();
        let first = self.len().min(after.len() / width);
        for (codes, count) in [(after, first), (before, self.len() - first)] {
            self.form.values(codes.get(..count * width).unwrap_or_default(), values);
        }
    }

    /// How many values there is room for.
    fn room(&self) -> usize {
        self.codes.len() / self.form.width()
    }

    fn room_for(&self, len: usize, most: usize) -> usize {
        match self.room() {
            room if room >= len => room,
            room => (GROWS_BY * room).max(FIRST_ROOM).min(most).max(len),
        }
    }

    /// Where the bytes of a value are, counted from the oldest one.
    fn place(&self, index: usize) -> std::ops::Range<usize> {
        let place = self.start as usize + index;
        let place = if place >= self.room() { place - self.room() } else { place };
        let width = self.form.width();
        place * width..(place + 1) * width
    }

    /// Writes all values down anew.
    fn lay_out(&mut self, values: &[f64], room: usize, form: Form) {
        let mut codes = vec![0; room * form.width()].into_boxed_slice();
        for (place, value) in codes.chunks_exact_mut(form.width()).zip(values) {
            form::write(place, form.code(*value).unwrap_or_default());
        }
        *self = Self { codes, form, start: 0, len: values.len().try_into().unwrap_or(u32::MAX) };
    }
}
