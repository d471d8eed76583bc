#!/usr/bin/env python3
"""Golden vectors of the PyTorch reference (uni2ts MoiraiMoE), tiny random weights.

  python gen_golden.py --spec SPEC --out FOLDER

Runs in the environment that setup.sh makes. Everything is float32 on CPU with one thread. The specs lie beside
the sets, in crates/moirai/tests/golden*; the README of `golden` says what each tensor means. A spec may name the
outputs that are mixed (`model.outputs`) and the patch size of each row of the forward pass
(`module_case.patch_size`). On another processor all but weights and patches differ in their last bits.
"""
import argparse, json, math, os
import numpy as np, pandas as pd, torch
from contextlib import contextmanager
from safetensors.torch import save_file
from uni2ts.common.torch_util import packed_causal_attention_mask
import uni2ts.distribution as distribution
from uni2ts.distribution._base import AffineTransformed
from uni2ts.model.moirai_moe import MoiraiMoEForecast, MoiraiMoEModule

torch.set_num_threads(1)
MARGIN = 3e-4   # smallest allowed gap between the 2nd and 3rd largest gate distance, so that routing is stable in f32
PERTURB = 0.25  # "ladder" rollout: sample s gets + PERTURB * s in the scaled domain

NAMES = {  # class of an output -> its name in the tensors
    "StudentTOutput": "student_t", "NormalOutput": "normal", "NormalFixedScaleOutput": "normal_fixed",
    "NegativeBinomialOutput": "neg_binomial", "LogNormalOutput": "log_normal", "LaplaceOutput": "laplace",
    "LaplaceFixedScaleOutput": "laplace_fixed", "ParetoOutput": "pareto", "ParetoFixedAlphaOutput": "pareto_fixed"}
USUAL = [{"class": "StudentTOutput"}, {"class": "NormalFixedScaleOutput", "scale": 1e-3},
         {"class": "NegativeBinomialOutput"}, {"class": "LogNormalOutput"}]


def outputs(spec):
    return spec["model"].get("outputs", USUAL)


def output(entry):
    return getattr(distribution, entry["class"])(**{k: v for k, v in entry.items() if k != "class"})


def names(spec):
    return [NAMES[entry["class"]] for entry in outputs(spec)]


def build(spec):
    m = spec["model"]
    torch.manual_seed(spec["seed"])
    mod = MoiraiMoEModule(
        distr_output=distribution.MixtureOutput([output(entry) for entry in outputs(spec)]),
        d_model=m["d_model"], d_ff=m["d_ff"], num_layers=m["num_layers"], patch_sizes=tuple(m["patch_sizes"]),
        max_seq_len=m["max_seq_len"], attn_dropout_p=0.0, dropout_p=0.0, scaling=True).eval()
    g = torch.Generator().manual_seed(spec["seed"])
    rn = lambda t: torch.randn(t.shape, generator=g, dtype=t.dtype)
    with torch.no_grad():
        for n, p in mod.named_parameters():
            if "norm" in n:
                p.copy_(1 + 0.2 * rn(p))
            elif n.endswith("bias"):
                p.copy_(0.2 * rn(p))
            elif "var_attn_bias" in n:
                p.copy_(rn(p))
            elif n.startswith("param_proj"):
                p.copy_(rn(p) * 0.4 / math.sqrt(p.shape[-1]))
            else:
                p.copy_(rn(p) * 1.2 / math.sqrt(p.shape[-1]))
        mod.encoder.centroid.copy_(rn(mod.encoder.centroid))
    return mod


class Probe:
    """Collects intermediate tensors of one MoiraiMoEModule.forward call."""
    def __init__(self, mod, spec):
        self.t, self.h, self.margin = {}, [], math.inf
        add = lambda m, f: self.h.append(m.register_forward_hook(f))
        add(mod.scaler, lambda m, i, o: self.t.update(loc=o[0], scale=o[1]))
        add(mod.in_proj, lambda m, i, o: self.t.update(scaled_target=i[0], in_proj=o))
        add(mod.feat_proj, lambda m, i, o: self.t.update(feat_proj=o))
        add(mod.res_proj, lambda m, i, o: self.t.update(res_proj=o))
        add(mod.encoder, lambda m, i, o: self.t.update(encoder_in=i[0], encoder_out=o))
        for k, l in enumerate(mod.encoder.layers):
            def norm1(m, i, o, k=k): self.t[f"layer{k}.norm1"] = o
            def attn(m, i, o, k=k): self.t[f"layer{k}.attn_out"] = o
            def ffn(m, args, kw, o, k=k):
                x, c = args[0], kw["centroid"]
                d = torch.cdist(x, c.type_as(x).expand(x.shape[:-2] + c.shape).contiguous())
                v, e = torch.topk(d, 3)
                self.margin = min(self.margin, (v[..., 1] - v[..., 2]).min().item())
                self.t[f"layer{k}.ffn_in"] = x
                self.t[f"layer{k}.gate_dist"] = d
                self.t[f"layer{k}.experts"] = e[..., :2].contiguous()
                self.t[f"layer{k}.expert_weights"] = torch.softmax(v[..., :2], -1)
                self.t[f"layer{k}.ffn_out"] = o
            def out(m, i, o, k=k): self.t[f"layer{k}.out"] = o
            add(l.norm1, norm1); add(l.self_attn, attn); add(l, out)
            self.h.append(l.ffn.register_forward_hook(ffn, with_kwargs=True))
        def pp(m, i, o):
            self.t["param.weights_logits"] = o["weights_logits"]
            for k, n in enumerate(names(spec)):
                for a, v in o["components"][k].items():
                    self.t[f"param.{n}.{a}"] = v
        add(mod.param_proj, pp)

    def close(self):
        for h in self.h: h.remove()


def ct(d):
    out = {}
    for k, v in d.items():
        v = torch.as_tensor(v)
        out[k] = v.detach().clone().contiguous()
    return out


def series(rng, n, dim, kind=0):
    t = np.arange(n)
    rows = []
    for d in range(dim):
        a, p, ph = rng.uniform(0.5, 20), rng.uniform(8, 40), rng.uniform(0, 6.28)
        lvl, tr = rng.uniform(-50, 200), rng.uniform(-0.3, 0.3)
        rows.append(lvl + tr * t + a * np.sin(2 * np.pi * t / p + ph) + 0.3 * a * rng.standard_normal(n))
    return np.asarray(rows, np.float32)


# ---------------------------------------------------------------- (a) module forward on hand-packed input
def module_case(mod, spec, out):
    c = spec["module_case"]
    P = max(spec["model"]["patch_sizes"])
    for seed in range(spec["seed"] * 1000 + 1, spec["seed"] * 1000 + 500):
        rng = np.random.default_rng(seed)
        g = torch.Generator().manual_seed(seed)
        rows = []
        sizes = c["patch_size"] if isinstance(c["patch_size"], list) else [c["patch_size"]] * len(c["rows"])
        for layout, size in zip(c["rows"], sizes):  # layout: list of [sample_id, variate_id, n_context_tokens, n_pred_tokens]; the rest is padding
            L = c["seq_len"]
            tgt, obs = torch.zeros(L, P), torch.zeros(L, P, dtype=torch.bool)
            sid, tid, vid = (torch.zeros(L, dtype=torch.long) for _ in range(3))
            pm = torch.zeros(L, dtype=torch.bool); ps = torch.full((L,), size, dtype=torch.long)
            i = 0
            for s, v, nc, npd in layout:
                n = nc + npd
                x = torch.from_numpy(series(rng, n * size, 1)[0]).view(n, size)
                tgt[i:i + n, :size] = x
                obs[i:i + n, :size] = torch.rand(n, size, generator=g) < 0.9
                sid[i:i + n], tid[i:i + n], vid[i:i + n] = s, torch.arange(n), v
                pm[i + nc:i + n] = True
                i += n
            rows.append((tgt, obs, sid, tid, vid, pm, ps))
        inp = dict(zip(["target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask", "patch_size"],
                       map(torch.stack, zip(*rows))))
        pr = Probe(mod, spec)
        with torch.no_grad():
            distr = mod(**inp)
        pr.close()
        if pr.margin >= MARGIN:
            break
    else:
        raise SystemExit("no seed with a safe routing margin")
    t = {f"in.{k}": v for k, v in inp.items()}
    t["attn_mask"] = packed_causal_attention_mask(inp["sample_id"], inp["time_id"])
    t.update(pr.t)
    t["mean"] = distr.mean
    t["variance"] = distr.variance
    z = torch.linspace(-2.5, 2.5, 7)
    pts = distr.loc + distr.scale * z.view(-1, 1, 1, 1)          # [7, B, L, 1]
    pts = pts.expand(7, *distr.mean.shape).contiguous()
    pts[5] = distr.loc + distr.scale * torch.round(distr.mean.sub(distr.loc).div(distr.scale).abs())  # integers in the scaled domain
    pts[6] = inp["target"]
    t["logprob_points"] = pts
    t["log_prob"] = distr.log_prob(pts)
    m64 = f64(mod)
    with torch.no_grad():
        d64 = m64(**{**inp, "target": inp["target"].double()})
    err = ((d64.mean - distr.mean).abs() / distr.scale).max().item()
    save_file(ct(t), os.path.join(out, "module_forward.safetensors"))
    return dict(file="module_forward.safetensors", data_seed=seed, gate_margin=pr.margin, f32_vs_f64_mean_maxabs_scaled=err)


def f64(mod):
    import copy
    m = copy.deepcopy(mod).double()
    return m


# ---------------------------------------------------------------- deterministic replacement of sampling
@contextmanager
def deterministic_sample(mode, steps, S):
    orig = AffineTransformed.sample

    def sample(self, shape=torch.Size()):
        mean = self.mean                                   # [.., B, L, P]
        n = shape[0]
        y = mean.unsqueeze(0).expand(n, *mean.shape).clone()
        if mode == "ladder":
            if mean.dim() == 3:                            # first call: shape (S,), batch (B, L, P)
                s = torch.arange(n, dtype=mean.dtype).view(-1, 1, 1, 1)
                y = y + PERTURB * s * self.scale
            else:                                          # later: shape (1,), batch (S, B, L, P)
                s = torch.arange(mean.shape[0], dtype=mean.dtype).view(1, -1, 1, 1, 1)
                y = y + PERTURB * s * self.scale.unsqueeze(0)
        steps.append(dict(loc=self.loc, scale=self.scale, mean=mean, pred=y))
        return y

    AffineTransformed.sample = sample
    try:
        yield
    finally:
        AffineTransformed.sample = orig


# ---------------------------------------------------------------- (b) + (c) forecast path
def forecast_case(mod, spec, c, out):
    dim, ctx, h, ps = c["target_dim"], c["context_length"], c["prediction_length"], c["patch_size"]
    F, PF = c.get("feat_dynamic_real_dim", 0), c.get("past_feat_dynamic_real_dim", 0)
    S = 3
    fc = MoiraiMoEForecast(prediction_length=h, target_dim=dim, feat_dynamic_real_dim=F, past_feat_dynamic_real_dim=PF,
                           context_length=ctx, module=mod, patch_size=ps, num_samples=S).eval()
    pred = fc.create_predictor(batch_size=64, device="cpu")
    for seed in range(spec["seed"] * 1000 + 501, spec["seed"] * 1000 + 1000):
        rng = np.random.default_rng(seed + 7919 * c["index"])
        raw, entries = {}, []
        for r, n in enumerate(c["lengths"]):
            x = series(rng, n, dim)
            if c.get("missing", 0):
                x[rng.random(x.shape) < c["missing"]] = np.nan
            if c.get("missing_block") and r == 0:
                a, b = c["missing_block"]; x[..., a:b] = np.nan
            e = dict(start=pd.Period("2024-01-01", freq="h"), item_id=str(r), target=x[0].copy() if dim == 1 else x.copy())
            raw[f"raw.{r}.target"] = torch.from_numpy(x.copy())
            if F:
                f = series(rng, n + h, F); f[rng.random(f.shape) < 0.05] = np.nan
                e["feat_dynamic_real"] = f.copy(); raw[f"raw.{r}.feat_dynamic_real"] = torch.from_numpy(f)
            if PF:
                f = series(rng, n, PF); f[rng.random(f.shape) < 0.05] = np.nan
                e["past_feat_dynamic_real"] = f.copy(); raw[f"raw.{r}.past_feat_dynamic_real"] = torch.from_numpy(f)
            entries.append(e)
        inst = list(pred.input_transform.apply(entries, is_train=False))
        names = pred.input_names
        spec_in = fc.describe_inputs(len(inst))
        batch = {k: torch.from_numpy(np.stack([np.asarray(i[k]) for i in inst])).to(spec_in[k].dtype if k != "past_is_pad" else torch.bool) for k in names}
        kw = {k: v for k, v in batch.items() if k not in ("past_target", "past_observed_target", "past_is_pad")}
        packed = fc._convert(ps, batch["past_target"], batch["past_observed_target"], batch["past_is_pad"], **kw)
        t = dict(raw)
        t.update({f"in.{k}": v for k, v in batch.items()})
        t.update({f"packed.{k}": v for k, v in zip(
            ["target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask"], packed)})
        margin, drift, info = math.inf, [], {}
        for mode in ("mean", "ladder"):
            steps = []
            pr = Probe(mod, spec)
            with torch.no_grad(), deterministic_sample(mode, steps, S):
                y = fc(**batch)
            pr.close()
            margin = min(margin, pr.margin)
            t[f"{mode}.forecast"] = y
            for k, s in enumerate(steps):
                t[f"{mode}.step{k}.loc"] = s["loc"]
                t[f"{mode}.step{k}.scale"] = s["scale"]
                if mode == "mean":
                    t[f"{mode}.step{k}.mean"] = s["mean"] if k == 0 else s["mean"][0]
            if mode == "mean" and len(steps) > 1:
                n = dim * fc.context_token_length(ps)
                l0, s0 = steps[0]["loc"][:, :n], steps[0]["scale"][:, :n]
                lN, sN = steps[-1]["loc"][0][:, :n], steps[-1]["scale"][0][:, :n]
                real = (packed[2][:, :n] > 0).unsqueeze(-1)
                info["max_loc_drift_in_scale_units"] = (((lN - l0) / s0).abs() * real).max().item()
                info["max_scale_drift_ratio"] = ((sN / s0 - 1).abs() * real).max().item()
        if margin >= MARGIN:
            break
    else:
        raise SystemExit(f"{c['name']}: no safe seed")
    # f32 noise floor of the mean rollout
    m64 = MoiraiMoEForecast(prediction_length=h, target_dim=dim, feat_dynamic_real_dim=F, past_feat_dynamic_real_dim=PF,
                            context_length=ctx, module=f64(mod), patch_size=ps, num_samples=S).eval()
    with torch.no_grad(), deterministic_sample("mean", [], S):
        y64 = m64(**{k: (v.double() if v.is_floating_point() else v) for k, v in batch.items()})
    info["f32_vs_f64_forecast_maxrel"] = ((y64 - t["mean.forecast"]).abs().max() / y64.abs().max()).item()
    fn = f"forecast_{c['name']}.safetensors"
    save_file(ct(t), os.path.join(out, fn))
    return dict(file=fn, data_seed=seed, gate_margin=margin, rollout_steps=fc.prediction_token_length(ps),
                tokens=packed[0].shape[1], **info, **{k: v for k, v in c.items() if k != "index"})


# ---------------------------------------------------------------- sampler statistics
def sampler_case(mod, spec, out):
    g = torch.Generator().manual_seed(spec["seed"] + 5)
    n = 8
    u = lambda k: {a: torch.randn(n, 1, generator=g) for a in k}
    do = mod.distr_output
    count = len(do.components)
    raw = dict(weights_logits=torch.randn(n, count, generator=g), components=[u(c.args_dim) for c in do.components])
    par = {"weights_logits": raw["weights_logits"], "components": [
        {a: do.domain_map["components"][k][a](v) for a, v in raw["components"][k].items()} for k in range(count)]}
    t = {"raw.weights_logits": raw["weights_logits"]}
    for k, nm in enumerate(names(spec)):
        for a in raw["components"][k]:
            t[f"raw.{nm}.{a}"] = raw["components"][k][a].squeeze(-1)
            t[f"param.{nm}.{a}"] = par["components"][k][a]
    loc, scale = torch.full((n,), 10.0), torch.linspace(0.5, 4.0, n)
    d = do.distribution(par, loc=loc, scale=scale)
    torch.manual_seed(spec["seed"] + 6)
    s = d.sample(torch.Size((1_000_000,)))
    q = torch.tensor([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
    t.update(loc=loc, scale=scale, mean=d.mean, quantile_levels=q,
             quantiles=torch.stack([torch.from_numpy(np.quantile(s.numpy(), float(a), axis=0)).float() for a in q]))
    save_file(ct(t), os.path.join(out, "sampler.safetensors"))
    return dict(file="sampler.safetensors", samples=1_000_000)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--spec", default="spec.json")
    p.add_argument("--out", default=".")
    a = p.parse_args()
    spec = json.load(open(a.spec))
    mod = build(spec)
    mod.save_pretrained(os.path.join(a.out, "model"))
    rd = os.path.join(a.out, "model", "README.md")
    if os.path.exists(rd): os.remove(rd)
    man = dict(torch=torch.__version__, spec=spec, margin=MARGIN, perturb=PERTURB,
               state_dict={k: [str(v.dtype).replace("torch.", ""), list(v.shape)] for k, v in mod.state_dict().items() if ".experts." not in k or ".experts.0." in k})
    man["module_forward"] = module_case(mod, spec, a.out); print(man["module_forward"])
    man["forecast"] = []
    for i, c in enumerate(spec["forecast_cases"]):
        r = forecast_case(mod, spec, dict(c, index=i), a.out); man["forecast"].append(r); print(r)
    man["sampler"] = sampler_case(mod, spec, a.out)
    json.dump(man, open(os.path.join(a.out, "manifest.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
