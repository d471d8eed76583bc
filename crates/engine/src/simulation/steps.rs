//! What may happen in the simulation, and what may be wrong with the protocol.

use crate::fault::Fault;

/// Something wrong, which the simulation has to find: in the engine, or in what stands
/// behind its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The engine's own.
    Engine(Fault),
    /// Offsets are committed before the forecasts, not with them.
    CommitsOffsetsFirst,
    /// The group takes commits from whoever sends them.
    FencesNobody,
}

pub(super) const FLAWS: [Flaw; 12] = [
    Flaw::Engine(Fault::EmitsWhileReplaying),
    Flaw::Engine(Fault::ForgetsCloses),
    Flaw::CommitsOffsetsFirst,
    Flaw::FencesNobody,
    Flaw::Engine(Fault::KeepsUncommittedState),
    Flaw::Engine(Fault::DrainsNothing),
    Flaw::Engine(Fault::ReplaysNothing),
    Flaw::Engine(Fault::ForgetsParts),
    Flaw::Engine(Fault::StopsPolling),
    Flaw::Engine(Fault::WritesSnapshotsTwice),
    Flaw::Engine(Fault::ComputesForNobody),
    Flaw::Engine(Fault::TrustsAnswers),
];

/// Returns the seed to look for a flaw from: one that few histories show is looked for
/// from where it was found, or most of the test's time would go into that one.
pub(super) fn first_seed(flaw: Flaw) -> u64 {
    match flaw {
        Flaw::Engine(Fault::KeepsUncommittedState) => 727,
        _ => 0,
    }
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Produce,
    /// Time passes: an instant, a while, long.
    Wait,
    WaitLonger,
    WaitLong,
    /// The next transaction ends with its process.
    CrashBefore,
    CrashAfter,
    Kill,
    Start,
    Stop,
    Stall,
    Wake,
    Damage,
    /// The model becomes faster or slower.
    ChangeModel,
    /// The store of snapshots hangs, or answers again.
    HangStore,
    Miscount,
}

/// How often what happens, before a seed has its say.
pub(super) const WEIGHTS: [(Step, usize); 15] = [
    (Step::Produce, 100),
    (Step::Wait, 100),
    (Step::WaitLonger, 30),
    (Step::WaitLong, 4),
    (Step::CrashBefore, 6),
    (Step::CrashAfter, 6),
    (Step::Kill, 6),
    (Step::Start, 20),
    (Step::Stop, 5),
    (Step::Stall, 5),
    (Step::Wake, 8),
    (Step::Damage, 8),
    (Step::ChangeModel, 10),
    (Step::HangStore, 6),
    (Step::Miscount, 2),
];
