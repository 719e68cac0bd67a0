"""Do hard negatives beat random ones, and how deep must the miner draw?

    python benchmarks/negatives.py --data PATH [--model lightgcn] [--seeds 0 1 2]

Trains the same model with the same budget on random negatives, on the best of 16, and on the top 1,000, for every seed,
and prints validation means with their standard deviation and the ratio to random. Writes
benchmarks/results/negatives-<model>.json; the README's table is this script's output. The test part stays closed.
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import evaluate                                         # noqa: E402
import train                                            # noqa: E402

SETTINGS = {
    "random": ["--neg", "random"],
    "best of 16": ["--neg", "hard", "--miner", "best-of", "--candidates", "16"],
    "top 1,000": ["--neg", "hard", "--miner", "window", "--window", "1000"],
    "top 100": ["--neg", "hard", "--miner", "window", "--window", "100"],
}
METRICS = ["recall@10", "ndcg@10", "recall@300", "auc"]


def one_run(data: Path | None, model: str, seed: int, flags: list[str], folder: Path) -> dict:
    """Train and score on validation, quietly."""
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        source = ["--data", str(data)] if data else []
        out = train.main([*source, "--model", model, "--loss", "bpr", "--seed", str(seed), *flags, "--out", str(folder)])
        seconds = time.perf_counter() - started
        (row,) = evaluate.main(["--run", str(out), "--split", "val", "--k", "10", "300"])
    return {"seconds": seconds} | {name: row[name] for name in METRICS}


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="as train.py")
    parser.add_argument("--model", default="lightgcn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    args, extra = parser.parse_known_args(argv)         # whatever else is given goes to train.py
    results = {}
    print(f"| {args.model}, negatives | {' | '.join(METRICS)} | recall@10 / random | recall@300 / random | seconds |")
    print("|" + "---|" * (len(METRICS) + 4))
    for name in args.settings:
        with tempfile.TemporaryDirectory() as folder:
            runs = [one_run(args.data, args.model, seed, SETTINGS[name] + extra, Path(folder) / str(seed))
                    for seed in args.seeds]
        results[name] = {m: [run[m] for run in runs] for m in runs[0]}
        mean = {m: statistics.mean(values) for m, values in results[name].items()}
        spread = {m: statistics.stdev(values) if len(runs) > 1 else 0.0 for m, values in results[name].items()}
        ratio = [statistics.mean(a / b for a, b in zip(results[name][m], results["random"][m]))
                 for m in ("recall@10", "recall@300")] if "random" in results else [1.0, 1.0]
        print(f"| {name} | " + " | ".join(f"{mean[m]:.4f} ± {spread[m]:.4f}" for m in METRICS) +
              f" | {ratio[0]:.3f} | {ratio[1]:.3f} | {mean['seconds']:.0f} |", flush=True)
    out = Path(__file__).parent / "results" / f"negatives-{args.model}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"model": args.model, "seeds": args.seeds, "extra": extra, "runs": results}, indent=1))
    return results


if __name__ == "__main__":
    main()
