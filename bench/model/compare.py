#!/usr/bin/env python3
"""Runs both implementations point by point, in turn, and prints the ratios.

Called by run.sh. Where the reference would need more than --limit seconds for a
batch, it is timed with a smaller one: its time is proportional to the batch (the
column `measured` says with how many series it was).
"""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy

SAMPLES = 100
# context, horizon, batch, rollout and dtype of ours, and the ratio that is promised.
# The reference computes in f32 throughout; ours does, too, whatever its weights are
# kept in.
POINTS = [
    (512, 96, 1, "cached", "f32", 40),
    (512, 96, 1, "cached", "bf16", 40),
    (512, 96, 32, "cached", "f32", 60),
    (2048, 96, 1, "cached", "f32", 110),
    (2048, 96, 1, "cached", "bf16", 110),
    (2048, 96, 32, "cached", "f32", 160),
    (512, 96, 1, "exact", "f32", 2.5),
    (512, 16, 32, "cached", "f32", 2.5),
    (2048, 16, 32, "cached", "f32", None),
]
# What is also measured of ours, with the checkpoint that is shipped.
TINY = [(1024, 96, 1), (1024, 96, 32)]


def note(text):
    print(text, file=sys.stderr, flush=True)


def lines(command):
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in found.splitlines() if line.startswith("{")]


def series(folder, context, count):
    """A daily season, a slow one and noise, the same on every run."""
    path = folder / f"series-{context}.f32"
    random = numpy.random.default_rng(7)
    steps = numpy.arange(context)
    phase = random.uniform(0, 6.28, (count, 1))
    values = 10 + 3 * numpy.sin(steps * 0.26 + phase) + numpy.sin(steps * 0.037 + phase)
    (values + 0.3 * random.standard_normal((count, context))).astype("<f4").tofile(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--ours", "--reference", "--model"):
        parser.add_argument(name, required=True)
    parser.add_argument("--series", required=True, type=pathlib.Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--limit", type=float, default=240.0)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    threads = str(arguments.threads)

    def ours(model, context, horizon, batch, rollout, dtype=None, path=None):
        command = [arguments.ours, "--model", model, "--threads", threads, "--rollout", rollout]
        command += ["--point", f"{context},{horizon},{SAMPLES},{batch}"]
        command += ["--repeats", "3" if rollout == "exact" else "7"]
        command += ["--dtype", dtype] if dtype else []
        return lines(command + (["--series", str(path)] if path else []))

    known = {}

    def reference(context, horizon, batch, path):
        if (context, horizon, batch) in known:
            return known[context, horizon, batch]
        command = [sys.executable, arguments.reference, "--model", arguments.model]
        command += ["--series", str(path), "--threads", threads]
        run = lambda size: lines(command + ["--point", f"{context},{horizon},{SAMPLES},{size}"])[0]
        size = batch
        if batch > 1 and horizon > 16:
            each = reference(context, horizon, 1, path)["seconds"]
            # Once to warm up and once to measure, unless one takes too long.
            size = max(1, min(batch, int(arguments.limit / each)))
        known[context, horizon, batch] = run(size)
        return known[context, horizon, batch]

    rows, machine = [], None
    for context, horizon, batch, rollout, dtype, promised in POINTS:
        if arguments.quick and (horizon > 16 and (batch > 1 or context > 512 or rollout == "exact")):
            continue
        note(f"context {context}, horizon {horizon}, batch {batch}, {rollout}, {dtype}")
        path = series(arguments.series, context, 32)
        theirs = reference(context, horizon, batch, path)
        head, own = ours(arguments.model, context, horizon, batch, rollout, dtype, path)
        machine = machine or head["machine"]
        rows.append(
            {
                "context": context,
                "horizon": horizon,
                "batch": batch,
                "rollout": rollout,
                "dtype": dtype,
                "ratio": own["forecasts_per_second"] / theirs["forecasts_per_second"],
                "promised": promised,
                "ours": own,
                "reference": theirs,
                "reference_batch": theirs["batch"],
                "memory_ratio": own["peak_memory"] / theirs["peak_memory"],
                "load_to_forecast_s": head["load_to_forecast_s"],
            }
        )
    tiny = []
    for context, horizon, batch in TINY:
        note(f"builtin:tiny, context {context}, horizon {horizon}, batch {batch}")
        tiny.append(ours("builtin:tiny", context, horizon, batch, "cached")[1])

    print(
        f"{arguments.threads} threads, {machine['flops'] / 1e9:.0f} GFLOP/s in f32 matrix products, "
        f"{machine['bytes'] / 1e9:.0f} GB/s read; torch {rows[0]['reference']['torch']}; "
        f"{SAMPLES} sample paths, sums in f32"
    )
    print()
    print("| context | horizon | batch | rollout | weights | ours/s | reference/s (measured) | ratio | promised | over the floor | memory |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        own, theirs = row["ours"], row["reference"]
        print(
            f"| {row['context']} | {row['horizon']} | {row['batch']} | {row['rollout']} | {row['dtype']} "
            f"| {own['forecasts_per_second']:.2f} "
            f"| {theirs['forecasts_per_second']:.4f} ({row['reference_batch']}) "
            f"| {row['ratio']:.1f} | {row['promised'] or '-'} | {own['over_floor']:.2f} "
            f"| {own['peak_memory'] >> 20} of {theirs['peak_memory'] >> 20} MiB ({row['memory_ratio']:.2f}) |"
        )
    print()
    for own in tiny:
        print(
            f"builtin:tiny, context {own['context']}, horizon {own['horizon']}, batch {own['batch']}: "
            f"{own['forecasts_per_second']:.1f} forecasts/s, {own['operations'] / 1e9:.2f} GFLOP each, "
            f"{own['over_floor']:.2f} times the floor, {own['peak_memory'] >> 20} MiB"
        )
    print(f"load to first forecast: {max(row['load_to_forecast_s'] for row in rows):.2f} s at most")
    # Threads that spin for each other lose everything where other work takes a core.
    for row in rows:
        theirs = row["reference"]
        busy = theirs["cpu_seconds"] / theirs["seconds"] / theirs["threads"]
        if busy < 0.85:
            print(
                f"warning: the reference had {100 * busy:.0f} % of its threads at context {row['context']}, "
                f"horizon {row['horizon']}, batch {row['batch']}: the machine was busy, do not use the ratio"
            )
    missed = [row for row in rows if row["promised"] and row["ratio"] < row["promised"]]
    print(f"{len(missed)} of {len(rows)} points below what is promised")
    print(json.dumps({"machine": machine, "points": rows, "tiny": tiny}))


if __name__ == "__main__":
    main()
