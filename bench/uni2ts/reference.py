#!/usr/bin/env python3
"""Times the PyTorch reference and prints a line of JSON for each point.

  python reference.py --model FOLDER --series FILE --point 512,96,100,1 --threads 2
  python reference.py ... --device cuda --dtype tf32 --point 512,96,100,1 --point 512,96,100,32

A point is context,horizon,samples,batch. The contexts come from a file of
little-endian f32, as many series as fit; `{context}` in its name stands for the
point's context. On the CPU use one process per point: peak memory is then the
point's own. The first forward pass warms up and is not timed, unless it alone
takes longer than --budget seconds; then it is the measurement.

With --dtype tf32 the f32 matrix products run in TF32; with bf16 the forward pass
runs under torch.autocast, the weights staying f32. On a GPU a batch that does
not fit in its memory is halved until it does; the parts run one after the other
and `seconds` is for all of them (`sub_batch` says how many series were run at
once). A point that fails there gives a line with `error`, and the next one runs.
"""
import argparse
import json
import resource
import statistics
import time

import numpy
import torch
from uni2ts.model.moirai_moe import MoiraiMoEForecast, MoiraiMoEModule


def measure(module, point, arguments):
    context, horizon, samples, batch = point
    device = torch.device(arguments.device)
    cuda = device.type == "cuda"
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
    model.to(device)
    path = arguments.series.replace("{context}", str(context))
    values = numpy.fromfile(path, dtype="<f4").reshape(-1, context)
    past = torch.from_numpy(numpy.resize(values, (batch, context)))[..., None].to(device)
    observed = torch.ones_like(past, dtype=torch.bool)
    padding = torch.zeros(batch, context, dtype=torch.bool, device=device)
    bf16 = arguments.dtype == "bf16"
    autocast = lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)

    def once(size):
        if cuda:
            torch.cuda.synchronize(device)
        started, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode(), autocast():
            for part in zip(past.split(size), observed.split(size), padding.split(size)):
                model(past_target=part[0], past_observed_target=part[1], past_is_pad=part[2])
        if cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter() - started, time.process_time() - cpu

    def fitting(size):
        """The largest part that fits in memory, and its first pass."""
        while True:
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
            try:
                return size, once(size)
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
            size = -(-size // 2)

    size, first = fitting(batch)
    rounds = [first] if first[0] > arguments.budget else [once(size) for _ in range(arguments.repeats)]
    seconds = statistics.median(wall for wall, _ in rounds)
    found = {
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
    if cuda or arguments.dtype != "f32":
        found |= {"dtype": arguments.dtype, "autocast": bf16}
    if cuda:
        found |= {
            "device": torch.cuda.get_device_name(device),
            "sub_batch": size,
            "first_seconds": first[0],
            "fastest_seconds": min(wall for wall, _ in rounds),
            "peak_device_memory": torch.cuda.max_memory_allocated(device),
        }
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--series", required=True)
    parser.add_argument("--point", required=True, action="append")
    parser.add_argument("--device", default="cpu", help="cpu or cuda[:N]")
    parser.add_argument("--dtype", default="f32", choices=("f32", "tf32", "bf16"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=30.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = arguments.dtype == "tf32"
    torch.backends.cudnn.allow_tf32 = arguments.dtype == "tf32"

    module = MoiraiMoEModule.from_pretrained(arguments.model)
    for text in arguments.point:
        point = tuple(map(int, text.split(",")))
        try:
            found = measure(module, point, arguments)
        except RuntimeError as error:  # out of memory, or what CUDA or cuBLAS refuse
            if arguments.device == "cpu":
                raise
            found = dict(zip(("context", "horizon", "samples", "batch"), point))
            found |= {"error": str(error)[:500], "dtype": arguments.dtype}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
