//! Faults that the simulation puts into the engine, to see whether it finds them.

/// A fault in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What a replay triggers is published again.
    EmitsWhileReplaying,
    /// The metadata says nothing of what the wall clock closed.
    ForgetsCloses,
    /// Snapshots are written before what is in them is committed.
    KeepsUncommittedState,
    /// A revoked partition is given up with forecasts under way.
    DrainsNothing,
    /// A new owner reads on at the committed offset, whatever is missing before it.
    ReplaysNothing,
    /// A commit in the middle of a close does not say how much of it is out.
    ForgetsParts,
    /// Who is to poll waits for room in a mailbox.
    StopsPolling,
    /// A snapshot is written again with the next commit.
    WritesSnapshotsTwice,
    /// The model computes what nobody waits for.
    ComputesForNobody,
    /// However few answers a model gives, they are taken for all.
    TrustsAnswers,
}

#[cfg(test)]
thread_local! {
    static INJECTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Lets this thread's engines have a fault, or none.
#[cfg(test)]
pub(crate) fn inject(fault: Option<Fault>) {
    INJECTED.set(fault);
    FOR_NOBODY.set(0);
}

#[cfg(test)]
thread_local! {
    static FOR_NOBODY: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Takes down that the model computes series that nobody waits for.
pub(crate) fn computes_for_nobody(series: usize) {
    #[cfg(test)]
    FOR_NOBODY.set(FOR_NOBODY.get() + series);
    #[cfg(not(test))]
    let _ = series;
}

/// Returns how many series were computed for nobody on this thread since a fault was
/// put in, or none.
#[cfg(test)]
pub(crate) fn computed_for_nobody() -> usize {
    FOR_NOBODY.get()
}

/// Returns whether this fault is put in; never outside tests.
#[cfg_attr(not(test), expect(clippy::missing_const_for_fn, reason = "it is not const in tests"))]
pub(crate) fn is_injected(fault: Fault) -> bool {
    #[cfg(test)]
    return INJECTED.get() == Some(fault);
    #[cfg(not(test))]
    {
        let _ = fault;
        false
    }
}
