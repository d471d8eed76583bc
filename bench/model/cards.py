#!/usr/bin/env python3
"""Times a card: ours and the PyTorch reference on the same one, in one run.

  python cards.py --ours BENCH --model FOLDER [--work FOLDER] [--device cuda]

BENCH is the example `bench` of crates/moirai, built with the feature `cuda`;
FOLDER a checkpoint (make_checkpoint.py writes one of the published small shape).
Needs a Python with uni2ts and a torch for the card. Prints a table and, as its
last line, JSON. The reference recomputes everything at each step, as it does
wherever it runs; ours is the cached rollout, whose accuracy docs/accuracy.md
compares. run.sh --device cuda calls this.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import compare

SAMPLES = 100
# context, horizon, batch, and the ratio that is promised.
POINTS = [
    (512, 96, 1, None),
    (512, 96, 32, 100),
    (512, 96, 256, 100),
    (512, 96, 1024, None),
    (2048, 96, 32, 200),
]
# What the reference is not timed with: 20 seconds a batch.
LONG_FOR_REFERENCE = 1024
OURS = ["f16", "bf16", "f32"]
REFERENCE = ["f32", "tf32", "bf16"]
TINY = [(1024, 96, 1), (1024, 96, 32), (1024, 96, 256)]
LATENCY_REPEATS = 300


def text(point):
    context, horizon, batch = point[:3]
    return f"{context},{horizon},{SAMPLES},{batch}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-reference", action="store_true")
    arguments = parser.parse_args()
    reference = pathlib.Path(__file__).resolve().parent.parent / "uni2ts" / "reference.py"
    paths = {context: compare.series(arguments.work, context, 32) for context in (512, 2048)}

    def ours(model, dtype, points, repeats=9):
        found = []
        for context in sorted({point[0] for point in points}):
            command = [arguments.ours, "--model", model, "--device", arguments.device]
            command += ["--dtype", dtype, "--repeats", str(repeats)]
            command += ["--series", str(paths[context])] if context in paths else []
            for point in points:
                command += ["--point", text(point)] if point[0] == context else []
            head, *measured = compare.lines(command)
            found += measured
        return head, {(m["context"], m["horizon"], m["batch"]): m for m in found}

    heads, times = {}, {}
    for dtype in OURS:
        compare.note(f"ours, {dtype}")
        heads[dtype], times[dtype] = ours(arguments.model, dtype, POINTS)
    _, latency = ours(arguments.model, "f16", POINTS[:1], LATENCY_REPEATS)
    latency = latency[POINTS[0][:3]]
    compare.note("builtin:tiny")
    _, tiny = ours("builtin:tiny", "f16", [(*point, None) for point in TINY])

    theirs = {dtype: {} for dtype in REFERENCE}
    for dtype in [] if arguments.no_reference else REFERENCE:
        compare.note(f"reference, {dtype}")
        command = [sys.executable, str(reference), "--model", arguments.model, "--device", arguments.device]
        command += ["--series", str(arguments.work / "series-{context}.f32"), "--dtype", dtype]
        for point in POINTS:
            command += ["--point", text(point)] if point[2] < LONG_FOR_REFERENCE else []
        for line in compare.lines(command):
            if "error" not in line:
                theirs[dtype][line["context"], line["horizon"], line["batch"]] = line

    machine = heads["f16"]["machine"]
    print(f"{machine['device']}, {SAMPLES} sample paths")
    for dtype in OURS:
        own = heads[dtype]["machine"]
        print(f"  cuBLAS in {dtype}: {own['flops'] / 1e12:.0f} TFLOP/s; copies {own['bytes'] / 1e12:.2f} TB/s")
    print()
    print("| context | horizon | batch | dtype | ours/s | ms | over the floor | reference/s in f32, tf32, bf16 | ratio to its f32 | to its fastest | promised |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    for point in POINTS:
        known = [theirs[dtype].get(point[:3]) for dtype in REFERENCE]
        rates = [line["forecasts_per_second"] if line else None for line in known]
        for dtype in OURS:
            own = times[dtype][point[:3]]
            rate = own["forecasts_per_second"]
            ratio = rate / rates[0] if rates[0] else None
            least = rate / max(r for r in rates if r) if any(rates) else None
            rows.append({"point": point[:3], "dtype": dtype, "ours": own, "reference": dict(zip(REFERENCE, known)), "ratio": ratio, "ratio_to_fastest": least, "promised": point[3]})
            shown = ", ".join(f"{r:.2f}" if r else "-" for r in rates)
            form = lambda value: f"{value:.0f}" if value else "-"
            print(
                f"| {point[0]} | {point[1]} | {point[2]} | {dtype} | {rate:.0f} | {1e3 * own['seconds']:.2f} "
                f"| {own['over_floor']:.1f} | {shown} | {form(ratio)} | {form(least)} | {point[3] or '-'} |"
            )
    print()
    print(
        f"one series at context 512 in f16, {latency['repeats']} rounds: median {1e3 * latency['seconds']:.2f} ms, "
        f"99 of 100 within {1e3 * latency['seconds_p99']:.2f} ms"
    )
    for own in tiny.values():
        print(
            f"builtin:tiny in f16, context {own['context']}, horizon {own['horizon']}, batch {own['batch']}: "
            f"{own['forecasts_per_second']:.0f} forecasts/s, {own['over_floor']:.1f} times the floor"
        )
    print(f"load to first forecast: {max(head['load_to_forecast_s'] for head in heads.values()):.2f} s at most")
    print(json.dumps({"machine": machine, "points": rows, "latency": latency, "tiny": list(tiny.values())}))


if __name__ == "__main__":
    main()
