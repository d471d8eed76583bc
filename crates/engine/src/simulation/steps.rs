//! What may happen in the simulation, and what may be wrong with the protocol.

/// A fault put into the protocol, which the simulation has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// What a replay triggers is published again.
    EmitsWhileReplaying,
    /// The metadata says nothing of what the wall clock closed.
    ForgetsCloses,
    /// Offsets are committed before the forecasts, not with them.
    CommitsOffsetsFirst,
    /// The group takes commits from whoever sends them.
    FencesNobody,
    /// Snapshots are written before what is in them is committed.
    KeepsUncommittedState,
    /// A revoked partition is given up with forecasts under way.
    DrainsNothing,
    /// A new owner reads on at the committed offset, whatever is missing before it.
    ReplaysNothing,
}

pub(super) const FLAWS: [Flaw; 7] = [
    Flaw::EmitsWhileReplaying,
    Flaw::ForgetsCloses,
    Flaw::CommitsOffsetsFirst,
    Flaw::FencesNobody,
    Flaw::KeepsUncommittedState,
    Flaw::DrainsNothing,
    Flaw::ReplaysNothing,
];

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Produce,
    Consume,
    CloseIdle,
    Keep,
    Commit(Crash),
    Kill,
    Join,
    Leave,
    Stall,
    Wake,
    Damage,
}

/// When a process is killed, of a commit's two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    No,
    Before,
    /// It is through, and the process does not learn of it.
    After,
}

/// How often what happens, before a seed has its say.
pub(super) const WEIGHTS: [(Step, usize); 13] = [
    (Step::Produce, 100),
    (Step::Consume, 100),
    (Step::CloseIdle, 20),
    (Step::Keep, 40),
    (Step::Commit(Crash::No), 60),
    (Step::Commit(Crash::Before), 12),
    (Step::Commit(Crash::After), 12),
    (Step::Kill, 8),
    (Step::Join, 20),
    (Step::Leave, 6),
    (Step::Stall, 8),
    (Step::Wake, 8),
    (Step::Damage, 8),
];
