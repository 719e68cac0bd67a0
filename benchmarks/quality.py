"""What is every model worth, what is every ingredient worth, and do the graph models beat the classic methods?

    python benchmarks/quality.py --data PATH [--split-by last] [--seeds 0 1 2] [--part test] [--groups models]
                                 [--work DIR]

Trains every row of `ROWS` for every seed, scores it and the baselines on the same split, and prints a table: mean ±
standard deviation over the seeds, seconds of training, for the rows of `COMPARED` the lead over the best baseline of
each metric with p, the bootstrap chance of no lead (playlists resampled, seeds averaged), and for hard negatives the
ratios to random ones. Only the part asked for is scored: choose with --part val, report with --part test, the default,
for which every row is refitted (train.py --refit): validation has chosen its epoch, and then it learns from the
validation links too, as the baselines do. A row that --work holds is not trained again, so that an interrupted table
goes on, and two processes share one with --groups.
Writes benchmarks/results/quality-<split>[-val].json; the tables of docs/results.md are its output (--markdown).
"""
from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm import tqdm

from harness import arguments, markdown, mean_and_deviation, save, train_quietly
from common import cli
from training.folder import load_checkpoint, save_checkpoint
from evaluate import baseline_scores, open_part
from gnn import MODELS
from gnn.readout import score_tables
from ranking.protocol import dot_scores
from training.flags import refitted
from training.settings import Settings
from training.trained import Together, Trained

METRICS = ["recall@10", "ndcg@10", "r_precision", "recall@300", "auc"]
TESTED = METRICS[:4]                                    # compared with the best baseline
KS = [10, 300]
RESAMPLES = 10_000

ROWS = {                                                # group → row → training.settings.Settings
    "models": {model: {"model": model} for model in MODELS} | {"lightgcn × 3": {}},
    "negatives": {f"{model}, BPR, {neg}": {"model": model, "neg": neg}
                  for model in MODELS for neg in ("random", "hard")} |
                 {f"lightgcn, BPR, top {depth:,}": {"neg": "hard", "miner": "window", "window": depth}
                  for depth in (1000, 100)},
    "ablations": {
        "lightgcn, BCE": {"loss": "bce"},
        "lightgcn, dot product": {"score": "dot", "temperature": 1.0},
        "lightgcn, temperature 0.15": {"temperature": 0.15},
        "lightgcn, embedding alone": {"track_weight": 0.0},
        "lightgcn, blind to order": {"recency": 0.0},
        "lightgcn, no artists or albums": {"node_types": ["playlist", "track"]},
        "lightgcn, tracks start alone": {"owners": False},
        "lightgcn, exponent 0.5": {"exponent": 0.5},
        "lightgcn, no edge dropout": {"edge_dropout": 0.0},
        "lightgcn, dim 64": {"dim": 64},
        "lightgcn, 1 layer": {"layers": 1},
        "lightgcn, 3 layers": {"layers": 3},
    },
}
MEMBERS = {"lightgcn × 3": 3}                           # rows of several runs, measured together
COMPARED = list(ROWS["models"])


def measured(run: Trained, part_name: str) -> tuple[dict, dict]:
    """Means by metric, and per-playlist values by metric, (P,) with NaN where a playlist has nothing to find."""
    asked = open_part(run, part_name, KS)
    score = dot_scores(*score_tables(run.readout, asked.given, asked.shown))
    return _spread(asked.part, *asked.part.measure(score, KS, asked.against))


def _spread(part, means: dict, values: dict) -> tuple[dict, dict]:
    held = part.held[0].unique()
    each = {m: torch.full((part.known.ptr.numel() - 1,), torch.nan, dtype=torch.float64).index_copy(0, held, values[m])
            for m in TESTED}
    return {m: means[m] for m in METRICS}, each


def trained(shared: dict, folder: Path, row: dict, members: int, refit: bool) -> tuple[Trained, float]:
    """A row's runs, or their refits, opened as one → and the seconds they took. shared: the settings of all rows, with
    the split's seed; members: runs that differ in their own."""
    out, started = [], time.perf_counter()
    for member in range(members):
        seed = shared["split_seed"] + 10 * member
        settings = Settings(**shared | row, seed=seed, out=Path(f"{folder}-{member}"))
        out.append(train_quietly(settings=settings))
        if refit:
            out[-1] = train_quietly(settings=refitted(out[-1], out=Path(f"{out[-1]}-refit")))
    seconds, opened = time.perf_counter() - started, [Trained(run) for run in out]
    return opened[0] if members == 1 else Together(opened), seconds


def lead(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> tuple[float, float]:
    """(relative lead of the means, bootstrap P(lead ≤ 0)), for per-playlist values of each seed."""
    ours, theirs = (torch.stack(values).nanmean(0) for values in (ours, theirs))
    real = ~ours.isnan()
    difference, generator = (ours - theirs)[real], torch.Generator().manual_seed(0)
    draws = torch.stack([difference[torch.randint(len(difference), (len(difference),), generator=generator)].mean()
                         for _ in range(RESAMPLES)])
    return float(difference.mean() / theirs[real].mean()), float((draws <= 0).double().mean())


def ratios(found: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    """Each metric of a row with hard negatives over that with random ones, mean over the seeds that both have."""
    out = {}
    for name in ROWS["negatives"]:
        base = name.rpartition(", ")[0] + ", random"
        both = [(hard["means"], random["means"]) for hard in found.get(name, []) for random in found.get(base, [])
                if hard["seed"] == random["seed"]]
        if both and name != base:
            out[name] = {m: statistics.mean(hard[m] / random[m] for hard, random in both) for m in TESTED}
    return out


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__)
    parser.add_argument("--split-by", choices=["random", "last"], default="last")
    parser.add_argument("--part", choices=["val", "test"], default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--groups", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--rows", nargs="+", help="only these rows of the groups")
    parser.add_argument("--work", type=Path,
                        help="keep what is measured here, and go on with what is (default: nowhere)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/results.md has them")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary) / "work"
        work.mkdir(parents=True, exist_ok=True)

        def place(seed: int, name: str) -> Path:
            return work / f"{args.split_by}-{args.part}-{seed}-{name.replace(' ', '_')}.pt"
        asked = {name: row for group in args.groups for name, row in ROWS[group].items()
                 if not args.rows or name in args.rows}
        steps = [(name, row, seed) for seed in args.seeds for name, row in asked.items()]
        for name, row, seed in tqdm(steps, "rows", disable=None):
            kept = place(seed, name)
            if kept.exists():
                continue
            shared = {"data": args.data, "split_by": args.split_by, "split_seed": seed}
            run, seconds = trained(shared, Path(temporary) / kept.stem, row, MEMBERS.get(name, 1), args.part == "test")
            means, each = measured(run, args.part)
            save_checkpoint(kept, {"means": means | {"seconds": seconds}, "each": each})
            print(f"{name}, seed {seed}: {means}", file=sys.stderr, flush=True)
            classics = place(seed, "classics")
            if not classics.exists():
                save_checkpoint(classics, baselines(run, args.part))
        found = {name: [load_checkpoint(path) | {"seed": seed} for seed in args.seeds
                        if (path := place(seed, name)).exists()]
                 for group in ROWS.values() for name in group}
        classics = [load_checkpoint(place(seed, "classics")) for seed in args.seeds]
    found = {name: seeds for name, seeds in found.items() if seeds}
    found |= {name: [seed[name] for seed in classics] for name in classics[0]}
    best = {m: max(classics[0], key=lambda name: statistics.mean(seed[name]["means"][m] for seed in classics))
            for m in TESTED}
    leads = {name: {m: lead([seed["each"][m] for seed in found[name]], [seed["each"][m] for seed in found[best[m]]])
                    for m in TESTED} for name in COMPARED if len(found.get(name, [])) == len(args.seeds)}
    result = {"part": args.part, "split_by": args.split_by, "seeds": args.seeds, "best_baselines": best,
              "settings": {name: row for group in ROWS.values() for name, row in group.items() if name in found},
              "rows": {name: [seed["means"] for seed in seeds] for name, seeds in found.items()}, "leads": leads,
              "ratios": ratios(found)}
    save(f"quality-{args.split_by}{'-val' * (args.part == 'val')}", result)
    print(as_text(result, markdown if args.markdown else cli.table))
    return result


def baselines(run: Trained, part_name: str) -> dict:
    """Every classic method on a run's split: name → means and per-playlist values."""
    asked, rows = open_part(run, part_name, KS), {}
    for name, score in baseline_scores(run, asked.shown, asked.given):
        started = time.perf_counter()
        means, each = _spread(asked.part, *asked.part.measure(score, KS, asked.against))
        rows[name] = {"means": means | {"seconds": time.perf_counter() - started}, "each": each}
    return rows


def as_text(result: dict, table) -> str:
    """The table of all rows, the one of the leads, and the one of the ratios."""
    rows = [[name, *(mean_and_deviation([seed[m] for seed in seeds]) for m in METRICS),
             f"{statistics.mean(s['seconds'] for s in seeds):.0f}"]
            for name, seeds in result["rows"].items()]
    text = table(["model", *METRICS, "seconds"], rows)
    if result["leads"]:
        against = [f"{m} ({name})" for m, name in result["best_baselines"].items()]
        text += "\n\n" + table(["lead over the best baseline", *against],
                               [[name, *(f"{100 * gain:+.1f} %, p {p:.4f}" for gain, p in by.values())]
                                for name, by in result["leads"].items()])
    if result["ratios"]:
        text += "\n\n" + table(["hard ÷ random", *TESTED], [[name, *(f"{by[m]:.2f}" for m in TESTED)]
                                                             for name, by in result["ratios"].items()])
    return text


if __name__ == "__main__":
    main()
