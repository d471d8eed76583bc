//! The window operator, the context rings and the windower.

mod contexts;
mod harness;
mod operator;
mod properties;
mod replay;
