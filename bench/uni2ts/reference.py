#!/usr/bin/env python3
"""Times the PyTorch reference at one point and prints a line of JSON.

  python reference.py --model FOLDER --series FILE --point 512,96,100,1 --threads 2

A point is context,horizon,samples,batch. The contexts come from a file of
little-endian f32, as many series as fit. One process per point: peak memory is
the point's own. The first forward pass warms up and is not timed, unless it
alone takes longer than --budget seconds; then it is the measurement.
"""
import argparse
import json
import resource
import statistics
import time

import numpy
import torch
from uni2ts.model.moirai_moe import MoiraiMoEForecast, MoiraiMoEModule


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--series", required=True)
    parser.add_argument("--point", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=30.0)
    arguments = parser.parse_args()
    context, horizon, samples, batch = map(int, arguments.point.split(","))
    torch.set_num_threads(arguments.threads)

    module = MoiraiMoEModule.from_pretrained(arguments.model)
    model = MoiraiMoEForecast(
        prediction_length=horizon,
        target_dim=1,
        feat_dynamic_real_dim=0,
        past_feat_dynamic_real_dim=0,
        context_length=context,
        module=module,
        patch_size=16,
        num_samples=samples,
    ).eval()
    values = numpy.fromfile(arguments.series, dtype="<f4").reshape(-1, context)
    past = torch.from_numpy(numpy.resize(values, (batch, context)))[..., None]
    observed = torch.ones_like(past, dtype=torch.bool)
    padding = torch.zeros(batch, context, dtype=torch.bool)

    def once():
        started, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            model(past_target=past, past_observed_target=observed, past_is_pad=padding)
        return time.perf_counter() - started, time.process_time() - cpu

    first = once()
    rounds = [first] if first[0] > arguments.budget else [once() for _ in range(arguments.repeats)]
    seconds = statistics.median(wall for wall, _ in rounds)
    print(
        json.dumps(
            {
                "context": context,
                "horizon": horizon,
                "samples": samples,
                "batch": batch,
                "threads": torch.get_num_threads(),
                "repeats": len(rounds),
                "seconds": seconds,
                "cpu_seconds": statistics.median(cpu for _, cpu in rounds),
                "forecasts_per_second": batch / seconds,
                "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
