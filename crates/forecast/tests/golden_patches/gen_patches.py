#!/usr/bin/env python3
"""Golden vectors for a model with several patch sizes, by the numpy restatement.   python gen_patches.py FOLDER

See README.md beside this. Weights are scaled as in ../golden/gen_golden.py."""
import json, math, os, sys
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
# numpy_check runs its checks when imported: take the definitions alone.
exec(open(os.path.join(GOLDEN, "numpy_check.py")).read().split("\nfor d in sys.argv")[0])

D, D_FF, LAYERS, SIZES, EXPERTS, PATHS = 64, 33, 1, [12, 4], 32, 3


def build(out, seed):
    g = np.random.default_rng(seed)
    rn = lambda *shape: g.standard_normal(shape).astype(f32)
    fan = lambda n: 1.2 / math.sqrt(n)
    n, P, H = len(SIZES), max(SIZES), D // 64
    w = {}
    for name, inputs in (("in_proj", P), ("res_proj", P), ("feat_proj", D)):
        w[name + ".weight"], w[name + ".bias"] = rn(n, D, inputs) * fan(inputs), rn(n, D) * 0.2
    w["encoder.centroid"] = g.standard_normal((LAYERS, EXPERTS, D))
    w["encoder.norm.weight"] = 1 + 0.2 * rn(D)
    for k in range(LAYERS):
        p = f"encoder.layers.{k}."
        for a in ("norm1", "norm2"):
            w[p + a + ".weight"] = 1 + 0.2 * rn(D)
        for a in ("q", "k", "v", "out"):
            w[p + f"self_attn.{a}_proj.weight"] = rn(D, D) * fan(D)
        for a in ("q", "k"):
            w[p + f"self_attn.{a}_norm.weight"] = 1 + 0.2 * rn(D // H)
        w[p + "self_attn.var_attn_bias.emb.weight"] = rn(2, H)
        for j in range(EXPERTS):
            e = p + f"ffn.experts.{j}."
            w[e + "fc1.weight"], w[e + "fc_gate.weight"] = rn(D_FF, D) * fan(D), rn(D_FF, D) * fan(D)
            w[e + "fc2.weight"] = rn(D, D_FF) * fan(D_FF)
    leaves = [("weights_logits", 4)] + [
        (f"components.{c}", 1) for c in ("0.df", "0.loc", "0.scale", "1.loc", "2.total_count", "2.logits", "3.loc", "3.scale")]
    for name, dim in leaves:
        w[f"param_proj.proj.{name}.weight"] = rn(n, dim * P, D) * 0.4 / math.sqrt(D)
        w[f"param_proj.proj.{name}.bias"] = rn(n, dim * P) * 0.2
    os.makedirs(out + "/model", exist_ok=True)
    save_file({k: np.ascontiguousarray(v.astype(f32) if v.dtype == f32 else v) for k, v in w.items()}, out + "/model/model.safetensors")
    config = json.load(open(os.path.join(GOLDEN, "model", "config.json")))
    config.update(d_model=D, d_ff=D_FF, num_layers=LAYERS, patch_sizes=SIZES)
    json.dump(config, open(out + "/model/config.json", "w"), indent=1)
    return Model(out + "/model")


def series(g, n, dim):
    t = np.arange(n)
    def one():
        a = g.uniform(0.5, 20)
        wave = a * np.sin(2 * np.pi * t / g.uniform(8, 40) + g.uniform(0, 6.28)) + 0.3 * a * g.standard_normal(n)
        return g.uniform(-50, 200) + g.uniform(-0.3, 0.3) * t + wave
    return np.stack([one() for _ in range(dim)]).astype(f32)


def newest(a, length, fill):  # [D, T] -> [length, D]
    pad = np.full((a.shape[0], max(length - a.shape[1], 0)), fill, a.dtype)
    return np.concatenate([pad, a], 1)[:, -length:].T


def forecast(m, out, name, seed, dim, ctx, h, ps, lengths, feats=0, past_feats=0):
    g, t, rows = np.random.default_rng(seed), {}, []
    put = lambda key, value: t.setdefault(key, []).append(value)
    for r, n in enumerate(lengths):
        x = series(g, n, dim)
        x[g.random(x.shape) < 0.1] = np.nan
        t[f"raw.{r}.target"] = x
        full = causal_mean_impute(x[0])[None] if dim == 1 else np.nan_to_num(x)
        past, observed = newest(full.astype(f32), ctx, 0), newest(~np.isnan(x), ctx, False)
        pad = np.arange(ctx) < ctx - n
        put("in.past_target", past), put("in.past_observed_target", observed), put("in.past_is_pad", pad)
        kw = {}
        if feats:
            f = series(g, n + h, feats)
            f[g.random(f.shape) < 0.05] = np.nan
            t[f"raw.{r}.feat_dynamic_real"] = f
            kw.update(feat=newest(np.nan_to_num(f), ctx + h, 0), fo=newest(~np.isnan(f), ctx + h, False))
            put("in.feat_dynamic_real", kw["feat"]), put("in.observed_feat_dynamic_real", kw["fo"])
        if past_feats:
            f = series(g, n, past_feats)
            t[f"raw.{r}.past_feat_dynamic_real"] = f
            kw.update(pf=newest(f, ctx, 0), pfo=newest(~np.isnan(f), ctx, False))
            put("in.past_feat_dynamic_real", kw["pf"]), put("in.past_observed_feat_dynamic_real", kw["pfo"])
        rows.append(convert(past, observed, pad, h, ps, m.P, **kw))
    for i, key in enumerate(("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")):
        values = np.stack([row[i] for row in rows])
        t["packed." + key] = values.astype(np.int64) if values.dtype.kind == "i" else values
    nc, nf = -(-ctx // ps), -(-h // ps)
    for mode in ("mean", "ladder"):
        y = np.zeros((len(rows), PATHS, h, dim), f32)
        seen = {k: np.zeros((nf, PATHS, len(rows), len(rows[0][0]), 1), f32) for k in ("loc", "scale")}
        for b, row in enumerate(rows):
            for s in range(PATHS):
                target, observed, sample, time, variate, mask = (a.copy() for a in row)
                pred, assign = np.arange(dim) * nc + nc - 1, dim * nc + np.arange(dim) * nf
                for k in range(nf):
                    tr = m.forward(target, observed, sample, time, variate, mask, ps)
                    seen["loc"][k, s, b], seen["scale"][k, s, b] = tr["loc"], tr["scale"]
                    drawn = tr["mean"] + (0.25 * s * tr["scale"] if mode == "ladder" else 0)
                    target[assign, :ps], mask[assign] = drawn[pred][:, :ps], False
                    pred, assign = assign, assign + 1
                y[b, s] = target[dim * nc:dim * (nc + nf), :ps].reshape(dim, -1)[:, :h].T
        t[mode + ".forecast"] = y[..., 0] if dim == 1 else y
        for k in range(nf):
            for key, values in seen.items():
                t[f"{mode}.step{k}.{key}"] = values[k, 0] if k == 0 else values[k]
    t = {k: np.ascontiguousarray(np.stack(v) if isinstance(v, list) else v) for k, v in t.items()}
    save_file(t, f"{out}/forecast_{name}.safetensors")


out = sys.argv[1] if len(sys.argv) > 1 else "."
model = build(out, 2)
for i, size in enumerate(SIZES):
    forecast(model, out, f"uni_{size}", i, 1, 70, 45, size, [100, 70, 33, 5])
    forecast(model, out, f"multi_{size}", 10 + i, 2, 41, 37, size, [60, 26], feats=2, past_feats=1)
