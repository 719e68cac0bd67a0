"""What is every model worth with its default settings, beside the classic methods?

    python benchmarks/quality.py --data PATH [--split-by last] [--seeds 0 1 2] [--part test]

Trains every model for every seed, scores all of them and the baselines on the same split, and prints a table: mean ±
standard deviation over the seeds, seconds of training, and p, the chance of a lead as large in recall@10 over the best
baseline by a paired bootstrap over playlists (first seed; blank where there is no lead). "untrained" is the model before
its first step. Writes benchmarks/results/quality-<split>.json; the README's table is this script's output.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import cli                                              # noqa: E402
import evaluate                                         # noqa: E402
import train                                            # noqa: E402
from gnn import MODELS                                  # noqa: E402
from gnn.readout import score_tables                    # noqa: E402
from ranking.protocol import dot_scores                 # noqa: E402
from trained import Trained                             # noqa: E402

METRICS = ["recall@10", "ndcg@10", "r_precision", "recall@300", "auc"]
KS = [10, 300]
RESAMPLES = 10_000


def trained(data: Path | None, by: str, model: str, seed: int, folder: Path, extra: list[str]) -> tuple[Path, float]:
    """One run with the model's defaults → its folder and the seconds it took."""
    source = ["--data", str(data)] if data else []
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        train.main([*source, "--split-by", by, "--model", model, "--seed", str(seed), "--out", str(folder), *extra])
    return folder, time.perf_counter() - started


def untrained(folder: Path, part, given, against) -> dict:
    """The same network with its starting parameters."""
    score = dot_scores(*score_tables(Trained(folder, fresh=True).readout, given))
    return part.measure(score, KS, against)[0]


def bootstrap_p(ours: torch.Tensor, theirs: torch.Tensor) -> float | None:
    """P(mean difference ≤ 0) over resampled playlists, for per-playlist values (P,); None where we do not lead."""
    difference = (ours - theirs).double()
    if difference.mean() <= 0:
        return None
    generator = torch.Generator().manual_seed(0)
    means = torch.stack([difference[torch.randint(len(difference), (len(difference),), generator=generator)].mean()
                         for _ in range(RESAMPLES)])
    return float((means <= 0).double().mean())


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="as train.py")
    parser.add_argument("--split-by", choices=["random", "last"], default="last")
    parser.add_argument("--part", choices=["val", "test"], default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    args, extra = parser.parse_known_args(argv)         # whatever else is given goes to train.py
    rows, values = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        for model in args.models:
            for seed in args.seeds:
                folder, seconds = trained(args.data, args.split_by, model, seed, Path(temporary) / f"{model}-{seed}", extra)
                part, given, against = evaluate.open_part(folder, args.part, KS)
                score = dot_scores(*evaluate.tables_of(folder, given, torch.device("cpu")))
                means, each = part.measure(score, KS, against)
                values.setdefault(model, each["recall@10"])
                rows.setdefault(model, []).append({m: means[m] for m in METRICS} | {"seconds": seconds})
                if seed == args.seeds[0]:
                    rows[f"{model}, untrained"] = [untrained(folder, part, given, against)]
            print(f"{model}: {rows[model][-1]}", file=sys.stderr, flush=True)
        first = Path(temporary) / f"{args.models[0]}-{args.seeds[0]}"
        part, given, against = evaluate.open_part(first, args.part, KS)
        classics = {}
        for name, score in evaluate.baseline_scores(first, given):
            started = time.perf_counter()
            means, each = part.measure(score, KS, against)
            rows[name] = [{m: means[m] for m in METRICS} | {"seconds": time.perf_counter() - started}]
            classics[name] = each["recall@10"]
    best = max(classics, key=lambda name: float(classics[name].mean()))
    table = []
    for name, seeds in rows.items():
        cells = []
        for m in METRICS:
            numbers = [row[m] for row in seeds]
            spread = f" ± {statistics.stdev(numbers):.4f}" if len(numbers) > 1 else ""
            cells.append(f"{statistics.mean(numbers):.4f}{spread}")
        p = bootstrap_p(values[name], classics[best]) if name in values else None
        cells += [f"{statistics.mean(row['seconds'] for row in seeds):.0f}" if "seconds" in seeds[0] else "",
                  "" if p is None else f"{p:.4f}"]
        table.append([name, *cells])
    print(cli.table(["model", *METRICS, "seconds", f"p against {best}"], table))
    out = Path(__file__).parent / "results" / f"quality-{args.split_by}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"part": args.part, "split_by": args.split_by, "seeds": args.seeds, "extra": extra,
                               "rows": rows, "table": table}, indent=1, ensure_ascii=False))
    return rows


if __name__ == "__main__":
    main()
