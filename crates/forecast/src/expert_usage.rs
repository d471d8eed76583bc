//! How a mixture of experts was used.

use serde::Serialize;

/// How many tokens went to each expert of each layer since the model was
/// loaded. A token counts once for each of its two experts.
///
/// Experts nobody needs and experts everybody goes to are the signs of routing
/// that collapsed (Liu et al. 2024, arXiv 2410.10469, section 4.4, looks at the
/// published models in this way).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpertUsage {
    /// Tokens, `[layer][expert]`.
    pub layers: Vec<Vec<u64>>,
}
