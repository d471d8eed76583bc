//! How far each partition has come.

use std::collections::BTreeMap;

use crate::partition::{Offset, OffsetRange, Partition};

/// The position through which each partition has been dealt with.
///
/// It grows by whole ranges that must touch: a range that would leave a hole or
/// go back is refused, because either means forecasts lost or doubled.
///
/// | checkpoint | range | outcome |
/// |------------|-------|---------|
/// | (unknown)  | 5..9  | 9       |
/// | 9          | 9..12 | 12      |
/// | 9          | 11..12| refused: gap |
/// | 9          | 7..12 | refused: overlap |
///
/// ```
/// use tidecast_stream::{Checkpoint, Offset, OffsetRange, Partition};
/// let p = Partition::new("readings", 0);
/// let mut checkpoint = Checkpoint::default();
/// checkpoint.extend(&p, OffsetRange::new(Offset(0), Offset(4)).unwrap()).unwrap();
/// assert_eq!(checkpoint.position(&p), Some(Offset(4)));
/// let gap = OffsetRange::new(Offset(6), Offset(8)).unwrap();
/// assert!(checkpoint.extend(&p, gap).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    positions: BTreeMap<Partition, Offset>,
}

/// A range that does not continue a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{partition}: range `{range}` does not continue position {position}")]
pub struct CheckpointError {
    /// The partition concerned.
    pub partition: Partition,
    /// The range that was offered.
    pub range: OffsetRange,
    /// The position it should have started at.
    pub position: Offset,
}

impl Checkpoint {
    /// Extends the partition's position by `range`.
    ///
    /// # Errors
    /// If `range` does not start where the partition stands.
    pub fn extend(
        &mut self,
        partition: &Partition,
        range: OffsetRange,
    ) -> Result<(), CheckpointError> {
        match self.positions.get_mut(partition) {
            Some(position) if *position != range.start() => {
                Err(CheckpointError { partition: partition.clone(), range, position: *position })
            }
            Some(position) => {
                *position = range.end();
                Ok(())
            }
            None => {
                self.positions.insert(partition.clone(), range.end());
                Ok(())
            }
        }
    }

    /// Returns where the partition stands, if it has been seen.
    pub fn position(&self, partition: &Partition) -> Option<Offset> {
        self.positions.get(partition).copied()
    }

    /// Forgets a partition, as when it is revoked.
    pub fn remove(&mut self, partition: &Partition) -> Option<Offset> {
        self.positions.remove(partition)
    }

    /// Returns all partitions and their positions, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Partition, Offset)> {
        self.positions.iter().map(|(partition, offset)| (partition, *offset))
    }
}
