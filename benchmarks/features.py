"""Do audio features help, and whom? On planted playlists, whose tracks sound like their genre.

    python benchmarks/features.py [--playlists 2000] [--models lightgcn] [--seeds 0 1 2]

Trains every model with and without the features of a store that audio.store.write_synthetic makes, beside artists and
albums and instead of them, and prints recall of the test links: over all of them, and over cold tracks alone, those
that occur in at most --cold training playlists.
Mean ± standard deviation over the seeds. Writes benchmarks/results/features.json.
"""
from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

from harness import arguments, mean_and_deviation, save, train_quietly
from common import cli
from evaluate import open_part
from gnn import MODELS
from gnn.readout import score_tables
from audio.store import write_synthetic
from mpd.synthetic import plant
from mpd.writer import write_slices
from ranking.protocol import dot_scores
from ranking.topk import rank
from training.trained import Trained

KS = [10, 300]


def recall_by_track(run: Trained, cold: int) -> dict[str, float]:
    """Share of the test links found in the top K: of all, and of those whose track is cold."""
    asked = open_part(run, "test", KS)
    part, (playlist, track) = asked.part, asked.part.held
    everyone = torch.arange(run.playlists.num_playlists)
    score = dot_scores(*score_tables(run.readout, asked.given, asked.shown))
    ranked = rank(score, everyone, part.known, max(KS))[1]
    rare = part.counts[track] <= cold
    found = {k: (ranked[playlist, :k] == track.unsqueeze(1)).any(1).double() for k in KS}
    return {f"{name} recall@{k}": float(found[k][which].mean()) for name, which in
            (("all", rare | True), ("cold", rare)) for k in KS} | {"cold links": int(rare.sum())}


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__, data=False)
    parser.add_argument("--playlists", type=int, default=2000)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["lightgcn"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cold", type=int, default=1, help="training playlists that a cold track occurs in at most")
    args, extra = parser.parse_known_args(argv)         # whatever else is given goes to train.py
    rows: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        slices, store = Path(temporary) / "slices", Path(temporary) / "features.jsonl"
        table, planted = plant(args.playlists)
        write_slices(slices, table, planted)
        write_synthetic(store, table, planted)
        audio, alone = ["--features", str(store)], ["--node-types", "playlist", "track"]
        for seed in args.seeds:
            for model in args.models:
                for name, flags in ((model, []), (f"{model} + features", audio),
                                    (f"{model}, no artists or albums", alone),
                                    (f"{model}, no artists or albums + features", [*alone, *audio])):
                    out = Path(temporary) / f"{name}-{seed}"
                    train_quietly(["--data", str(slices), "--model", model, "--seed", str(seed), "--out", str(out),
                                   *flags, *extra])
                    rows.setdefault(name, []).append(recall_by_track(Trained(out), args.cold))
                    print(f"{name}, seed {seed}: {rows[name][-1]}", file=sys.stderr, flush=True)
    columns = [f"{name} recall@{k}" for name in ("all", "cold") for k in KS]
    print(cli.table(["model", *columns], [[name, *(mean_and_deviation([seed[c] for seed in seeds]) for c in columns)]
                                          for name, seeds in rows.items()]))
    save("features", {"playlists": args.playlists, "seeds": args.seeds, "cold": args.cold, "extra": extra,
                      "rows": rows})
    return rows


if __name__ == "__main__":
    main()
