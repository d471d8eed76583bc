#!/usr/bin/env python3
"""Writes a checkpoint with random weights in the shape of a published model.

  python make_checkpoint.py FOLDER [--shape small|base] [--seed 0]

No trained weight is involved; speed does not depend on them. The matrices are
N(0, 1) * 1.2 / sqrt(fan_in), so that activations stay of order one and tokens
spread over the experts as they do in trained models.
"""
import argparse
import math
import pathlib

import torch
from uni2ts.distribution import (
    LogNormalOutput,
    MixtureOutput,
    NegativeBinomialOutput,
    NormalFixedScaleOutput,
    StudentTOutput,
)
from uni2ts.model.moirai_moe import MoiraiMoEModule

SHAPES = {
    "small": dict(d_model=384, d_ff=512, num_layers=6),
    "base": dict(d_model=768, d_ff=1024, num_layers=12),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    module = MoiraiMoEModule(
        distr_output=MixtureOutput(
            [StudentTOutput(), NormalFixedScaleOutput(1e-3), NegativeBinomialOutput(), LogNormalOutput()]
        ),
        patch_sizes=(16,),
        max_seq_len=512,
        attn_dropout_p=0.0,
        dropout_p=0.0,
        scaling=True,
        **SHAPES[arguments.shape],
    )
    with torch.no_grad():
        # The reference leaves the centroids as uninitialised memory.
        module.encoder.centroid.normal_()
        for name, weight in module.named_parameters():
            if weight.dim() < 2:
                weight.normal_(1.0, 0.2) if "norm" in name else weight.normal_(0.0, 0.2)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.2)
            else:
                gain = 0.4 if name.startswith("param_proj") else 1.2
                weight.normal_(0.0, gain / math.sqrt(weight.shape[-1]))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    module.save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
