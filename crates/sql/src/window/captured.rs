//! The series as they were when a snapshot was taken.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use tidecast_stream::SeriesKey;

use super::columns::ViewColumns;
use super::output::WindowError;
use super::ring::{Ring, RingParts, Shape};

/// The rings at some moment, which cost next to nothing to keep: their values are
/// those of [`ContextRings`](super::ContextRings) as long as these do not change.
#[derive(Clone)]
pub(super) struct Captured {
    columns: Arc<ViewColumns>,
    shape: Shape,
    rings: Vec<Arc<Ring>>,
}

/// Some series, as snapshots have them.
#[derive(Debug)]
pub(super) struct CapturedSeries {
    /// The series columns.
    pub(super) keys: Vec<ArrayRef>,
    pub(super) names: Vec<SeriesKey>,
    pub(super) rings: Vec<RingParts>,
}

impl Captured {
    pub(super) fn new(columns: Arc<ViewColumns>, shape: Shape, rings: Vec<Arc<Ring>>) -> Self {
        Self { columns, shape, rings }
    }

    /// Returns the series in order of first appearance, so many at a time, at least once.
    pub(super) fn in_order(
        &self,
        series: usize,
    ) -> impl Iterator<Item = Result<CapturedSeries, WindowError>> {
        let mut rings: Vec<&Ring> = self.rings.iter().map(AsRef::as_ref).collect();
        rings.sort_unstable_by_key(|ring| ring.serial);
        let starts = (0..rings.len().max(1)).step_by(series.max(1));
        starts.map(move |from| {
            let until = rings.len().min(from.saturating_add(series));
            let rings = rings.get(from..until).unwrap_or_default();
            let keys: Vec<&[u8]> = rings.iter().map(|ring| &*ring.key).collect();
            Ok(CapturedSeries {
                keys: self.columns.key_columns(&keys),
                names: self.columns.series_of(&keys)?,
                rings: rings.iter().map(|ring| ring.parts(&self.shape)).collect(),
            })
        })
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Captured[{} series]", self.rings.len())
    }
}
