//! From columns of values to one row of patches (uni2ts' `_convert`).
//!
//! The past is padded on the left to a multiple of the patch size, the future
//! on the right; each patch is padded on the right from the patch size in use
//! to the patch width. The row's segments, each variate by variate:
//!
//! ```text
//! target past | target future | future covariates past | .. future | past covariates
//! ```

use crate::imputation::Column;

/// The columns of one series, with gaps filled.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// `[variate]`, context steps each.
    pub(crate) target: Vec<Column>,
    /// `[covariate]`, context and horizon steps each.
    pub(crate) future_covariates: Vec<Column>,
    /// `[covariate]`, context steps each.
    pub(crate) past_covariates: Vec<Column>,
    /// Context steps that lie before the start of the series.
    pub(crate) is_pad: Vec<bool>,
}

/// One row of tokens; the vectors of patches are `[tokens, patch_width]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PackedRow {
    pub(crate) patch_width: usize,
    pub(crate) patch_size: usize,
    pub(crate) horizon: usize,
    pub(crate) segments: Segments,
    pub(crate) values: Vec<f64>,
    pub(crate) observed: Vec<bool>,
    /// 0 is padding.
    pub(crate) sample_id: Vec<u32>,
    pub(crate) time_id: Vec<u32>,
    pub(crate) variate_id: Vec<u32>,
    /// Tokens that are to be predicted.
    pub(crate) prediction_mask: Vec<bool>,
}

/// How many tokens and columns a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    pub(crate) variates: usize,
    pub(crate) future_covariates: usize,
    pub(crate) past_covariates: usize,
    /// Patches of the context, per column.
    pub(crate) context_patches: usize,
    /// Patches of the horizon, per column.
    pub(crate) horizon_patches: usize,
}

impl Segments {
    /// Returns the token of a target variate's context patch.
    pub(crate) fn target_past(&self, variate: usize, patch: usize) -> usize {
        variate * self.context_patches + patch
    }

    /// Returns the token of a target variate's horizon patch.
    pub(crate) fn target_future(&self, variate: usize, patch: usize) -> usize {
        self.variates * self.context_patches + variate * self.horizon_patches + patch
    }

    /// Returns the token of a future covariate's horizon patch.
    pub(crate) fn covariate_future(&self, covariate: usize, patch: usize) -> usize {
        self.variates * (self.context_patches + self.horizon_patches)
            + self.future_covariates * self.context_patches
            + covariate * self.horizon_patches
            + patch
    }
}

impl PackedRow {
    /// Packs the columns of one series.
    pub(crate) fn pack(
        columns: &Columns,
        horizon: usize,
        patch_size: usize,
        patch_width: usize,
    ) -> Self {
        let steps = columns.is_pad.len();
        let segments = Segments {
            variates: columns.target.len(),
            future_covariates: columns.future_covariates.len(),
            past_covariates: columns.past_covariates.len(),
            context_patches: steps.div_ceil(patch_size),
            horizon_patches: horizon.div_ceil(patch_size),
        };
        let mut row = Self {
            patch_width,
            patch_size,
            horizon,
            segments,
            values: Vec::new(),
            observed: Vec::new(),
            sample_id: Vec::new(),
            time_id: Vec::new(),
            variate_id: Vec::new(),
            prediction_mask: Vec::new(),
        };
        let past_times = past_times(&columns.target, steps, patch_size);
        let next_time = past_times.last().map_or(0, |last| last + 1);
        let future_times: Vec<u32> =
            (0..segments.horizon_patches as u32).map(|patch| next_time + patch).collect();
        // Padding to a multiple counts as padding for the target, but not for
        // covariates: their first, partly padded patch is never padding.
        let target_samples = past_samples(&columns.is_pad, patch_size, true);
        let covariate_samples = past_samples(&columns.is_pad, patch_size, false);
        let future_samples = vec![1; segments.horizon_patches];

        for (variate, column) in columns.target.iter().enumerate() {
            row.push_past(&column.values, &column.observed);
            row.push_ids(&target_samples, &past_times, variate, false);
        }
        for variate in 0..segments.variates {
            row.push_future(&vec![0.0; horizon], &vec![true; horizon]);
            row.push_ids(&future_samples, &future_times, variate, true);
        }
        for (index, column) in columns.future_covariates.iter().enumerate() {
            row.push_past(&column.values[..steps], &column.observed[..steps]);
            row.push_ids(&covariate_samples, &past_times, segments.variates + index, false);
        }
        for (index, column) in columns.future_covariates.iter().enumerate() {
            row.push_future(&column.values[steps..], &column.observed[steps..]);
            row.push_ids(&future_samples, &future_times, segments.variates + index, false);
        }
        let before = segments.variates + segments.future_covariates;
        for (index, column) in columns.past_covariates.iter().enumerate() {
            row.push_past(&column.values, &column.observed);
            row.push_ids(&covariate_samples, &past_times, before + index, false);
        }
        row
    }

    pub(crate) fn tokens(&self) -> usize {
        self.time_id.len()
    }

    /// Returns the values of a token, padding included.
    pub(crate) fn patch(&self, token: usize) -> &[f64] {
        &self.values[token * self.patch_width..(token + 1) * self.patch_width]
    }

    /// Returns a token's observed values.
    pub(crate) fn observed_values(&self, token: usize) -> impl Iterator<Item = f64> + Clone {
        let at = token * self.patch_width..(token + 1) * self.patch_width;
        let pairs = self.values[at.clone()].iter().zip(&self.observed[at]);
        pairs.filter(|(_, observed)| **observed).map(|(value, _)| *value)
    }

    fn push_past(&mut self, values: &[f64], observed: &[bool]) {
        let padding = values.len().next_multiple_of(self.patch_size) - values.len();
        self.push_patches(padding, values, observed);
    }

    fn push_future(&mut self, values: &[f64], observed: &[bool]) {
        self.push_patches(0, values, observed);
    }

    /// Cuts a column into patches after `padding` steps of padding.
    fn push_patches(&mut self, padding: usize, values: &[f64], observed: &[bool]) {
        let steps = (padding + values.len()).next_multiple_of(self.patch_size);
        for start in (0..steps).step_by(self.patch_size) {
            for position in 0..self.patch_width {
                let step = (start + position).checked_sub(padding);
                let step = step.filter(|_| position < self.patch_size);
                let value = step.and_then(|step| values.get(step));
                self.values.push(value.copied().unwrap_or(0.0));
                let observed = step.and_then(|step| observed.get(step));
                self.observed.push(observed.copied().unwrap_or(false));
            }
        }
    }

    fn push_ids(&mut self, samples: &[u32], times: &[u32], variate: usize, is_predicted: bool) {
        self.sample_id.extend_from_slice(samples);
        self.time_id.extend_from_slice(times);
        self.variate_id.extend(times.iter().map(|_| variate as u32));
        self.prediction_mask.extend(times.iter().map(|_| is_predicted));
    }
}

/// Returns the time of each context patch: it counts from the first patch in
/// which any target variate was observed; patches before share its time, 0.
fn past_times(target: &[Column], steps: usize, patch_size: usize) -> Vec<u32> {
    let padding = steps.next_multiple_of(patch_size) - steps;
    let first = (0..steps).find(|&step| target.iter().any(|column| column.observed[step]));
    let patches = steps.div_ceil(patch_size);
    let first = first.map_or(patches, |step| (padding + step) / patch_size);
    (0..patches).map(|patch| patch.saturating_sub(first) as u32).collect()
}

/// Returns 1 for a context patch with any step of the series, else 0.
fn past_samples(is_pad: &[bool], patch_size: usize, padding_is_pad: bool) -> Vec<u32> {
    let padding = is_pad.len().next_multiple_of(patch_size) - is_pad.len();
    let mut padded = vec![padding_is_pad; padding];
    padded.extend_from_slice(is_pad);
    padded.chunks(patch_size).map(|patch| u32::from(patch.contains(&false))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Column {
        Column::zero_filled(values)
    }

    fn columns(target: &[&[f64]]) -> Columns {
        Columns {
            target: target.iter().map(|values| column(values)).collect(),
            future_covariates: Vec::new(),
            past_covariates: Vec::new(),
            is_pad: vec![false; target[0].len()],
        }
    }

    #[test]
    fn the_past_is_padded_on_the_left_and_patches_on_the_right() {
        let row = PackedRow::pack(&columns(&[&[1.0, 2.0, 3.0]]), 3, 2, 4);
        let expected = [
            [0.0, 1.0, 0.0, 0.0], // one step of padding, then the first step
            [2.0, 3.0, 0.0, 0.0],
            [0.0; 4], // two patches to predict
            [0.0; 4],
        ];
        assert_eq!(row.values, expected.concat());
        let observed = [
            [false, true, false, false],
            [true, true, false, false],
            [true, true, false, false],
            [true, false, false, false], // step 4 of 3 is padding
        ];
        assert_eq!(row.observed, observed.concat());
        assert_eq!(row.time_id, [0, 1, 2, 3]);
        assert_eq!(row.sample_id, [1; 4]);
        assert_eq!(row.prediction_mask, [false, false, true, true]);
    }

    #[test]
    fn time_starts_with_the_first_observed_patch_of_any_variate() {
        let nan = f64::NAN;
        let row = PackedRow::pack(
            &columns(&[&[nan, nan, nan, nan, 1.0, nan], &[nan, nan, nan, 2.0, nan, nan]]),
            2,
            2,
            2,
        );
        assert_eq!(row.time_id, [0, 0, 1, 0, 0, 1, 2, 2]);
        assert_eq!(row.variate_id, [0, 0, 0, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn what_lies_before_the_series_is_padding_but_not_for_a_covariates_first_patch() {
        let mut columns = columns(&[&[0.0, 0.0, 0.0, 0.0, 5.0]]);
        columns.is_pad = vec![true, true, true, true, false];
        columns.past_covariates = vec![column(&[1.0; 5])];
        columns.future_covariates = vec![column(&[2.0; 6])];
        let row = PackedRow::pack(&columns, 1, 2, 2);
        //                          target      future  covariate   its future  past covariate
        assert_eq!(row.sample_id, [0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1]);
        assert_eq!(row.variate_id, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]);
        assert_eq!(row.segments.covariate_future(0, 0), 7);
        assert_eq!(row.segments.target_future(0, 0), 3);
    }
}
