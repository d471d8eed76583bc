//! Which structures of `launch.rs` each file of kernels declares, too.

use super::launch::{
    Attention, Draw, Heads, Held, Hindsight, Looked, Norm, Output, Pair, Place, Product,
    Projection, Quantiles, Rotate, Route, Series, Span,
};
use super::layout::{Layout, layout};

/// Returns the structures that `attention.cu` declares, too.
pub(super) fn of_attention() -> Vec<Layout> {
    vec![
        layout!(Span { first_query, queries, first_key, keys, tokens }),
        pair(),
        layout!(Attention {
            queries,
            keys,
            values,
            spans,
            tiles,
            time,
            sample,
            variate,
            own_variate,
            own_keys,
            own_values,
            bias,
            out,
            width,
            steps,
            own_rows
        }),
    ]
}

/// Returns the structures that `matmul.cu` declares, too.
pub(super) fn of_matmul() -> Vec<Layout> {
    vec![
        heads(),
        layout!(Product {
            a,
            weights,
            bias,
            out,
            perm,
            offsets,
            tile_expert,
            tile_row,
            pair_weight,
            rows,
            columns,
            inner,
            stride,
            padded
        }),
        layout!(Projection { product, heads }),
    ]
}

/// Returns the structures that `pointwise.cu` declares, too.
pub(super) fn of_pointwise() -> Vec<Layout> {
    vec![
        heads(),
        layout!(Norm { x, answers, weight, rows_of, out, counts, rows, width, experts }),
        layout!(Route {
            x,
            weight,
            centroids,
            squared,
            out,
            chosen,
            pair_weight,
            rank,
            counts,
            distances,
            rows,
            width,
            experts
        }),
        layout!(Place {
            chosen,
            rank,
            counts,
            perm,
            offsets,
            tile_expert,
            tile_row,
            usage,
            pairs,
            experts,
            tiles,
            tile_rows
        }),
        layout!(Rotate { projected, heads, rows }),
    ]
}

/// Returns the structures that `sample.cu` declares, too.
pub(super) fn of_sample() -> Vec<Layout> {
    vec![
        layout!(Output { components, is_mixture, kind, first, fixed }),
        layout!(Series {
            seed_low,
            seed_high,
            first_row,
            tokens,
            variates,
            paths,
            first_head,
            context_head,
            first_column,
            covariates,
            patches,
            horizon,
            first_result,
            unused,
            first_value
        }),
        pair(),
        layout!(Held { location, scale, least, largest, is_whole, is_held }),
        layout!(Draw {
            head,
            series,
            series_of,
            held,
            covariates,
            values,
            input,
            points,
            rows,
            step,
            stride,
            patch_size,
            patch_width,
            padded,
            is_drawn,
            points_of_step,
            output
        }),
        layout!(Looked { seed_low, seed_high, variate, first_head, first_patch, patches }),
        layout!(Hindsight {
            head,
            happened,
            looked,
            together,
            stride,
            patch_size,
            patch_width,
            points,
            output
        }),
        layout!(Quantiles {
            values,
            points,
            series,
            items,
            levels,
            means,
            quantiles,
            counts,
            levels_count,
            patch_size,
            size,
            points_of_step
        }),
    ]
}

fn heads() -> Layout {
    layout!(Heads {
        query_weight,
        key_weight,
        turns,
        time,
        queries,
        keys,
        values,
        width,
        now,
        by_lane
    })
}

fn pair() -> Layout {
    layout!(Pair as "uint2", { 0 as "x", 1 as "y" })
}
