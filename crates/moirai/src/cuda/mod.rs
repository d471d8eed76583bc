//! MOIRAI-MoE on NVIDIA cards, through kernels of our own (`kernels/*.cu`).
//!
//! Weights are uploaded once; a rollout runs on the card from the scaled
//! contexts to the quantiles, and nothing comes back to the host in between.
//! [`Gpu`] finds the card and launches kernels, [`Buffer`](buffer::Buffer) is
//! memory there, `launch` knows the kernels and their parameters, `layout` and
//! `structures` compare these with what the kernels were compiled with, `weights` lays
//! out a checkpoint, `encoder` runs the layers, `batch` is series that are rolled out together, and
//! `rollout` decides which are.

#![allow(unsafe_code)] // kernels take pointers into the card's memory

mod batch;
mod buffer;
mod encoder;
mod gpu;
mod launch;
mod layout;
mod network;
mod rates;
mod rollout;
mod structures;
mod weights;

pub(crate) use self::gpu::Gpu;
pub(crate) use self::network::CudaNetwork;
