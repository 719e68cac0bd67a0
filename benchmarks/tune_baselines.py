"""Which settings should the classic baselines have?  A small coordinate search on the validation part.

    python benchmarks/tune_baselines.py --data PATH                search, write its rows to TUNED
    python benchmarks/tune_baselines.py --data PATH --no-search    the table of BASELINES as they stand

Three stages a method, each going on from the winner of the one before: plain; with content (its two weights,
and the method's settings again); with order (rate and base of the recency weights, nothing is fitted again).
A search starts from the first value of every list in GRID, changes one setting at a time, keeps what raises
NDCG@10, and ends when a round over all settings changes nothing. Methods learn from the training part alone;
the test part is never looked at. The winners stand in `BASELINES` (ranking/baselines.py);
tests/test_baselines.py holds the two together.
"""
from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable

import torch

from harness import RESULTS, arguments
import mpd
from common import cli
from mpd.build import shown_tracks
from mpd.playlists import Playlists
from mpd.split import make_split
from ranking import baselines
from ranking.baselines import BASELINES
from ranking.protocol import Part

TUNED = RESULTS / "baselines_tuned.json"
SELECT_BY, KS = "ndcg@10", [10, 300]
COLUMNS = ["recall@10", "ndcg@10", "r_precision", "recall@300"]

GRID = {
    "popularity": {},
    "item-knn": {"alpha": [0.5, 0.4, 0.6], "shrink": [5, 2, 10], "idf": [0.5, 0.25, 1], "k": [800, 200]},
    "rp3beta": {"alpha": [0.4, 0.3, 0.6], "beta": [0.2, 0, 0.4], "k": [800, 200]},
    "ease": {"reg": [100, 50, 200]},
    "ials": {"alpha": [10, 5, 20], "reg": [20, 10, 40], "dim": [256, 128], "sweeps": [5, 3, 10]},
    "gf-cf": {"playlist_exponent": [0.3, 0.2, 0.4, 0.5], "track_exponent": [0.3, 0.2, 0.4, 0.5],
              "alpha": [0.1, 0.05, 0.3, 1], "dim": [512, 256]},
}
CONTENT_GRID = {
    "item-knn": {"artist_weight": [0.8, 0.4], "album_weight": [1.2, 0.8, 1.8]},
    "rp3beta": {"artist_weight": [0.4, 0.2, 0.8], "album_weight": [1.2, 0.8, 1.8, 2.5]},
    "ease": {"artist_weight": [1.0, 0.5], "album_weight": [1.5, 1.0, 2.2]},
    "ials": {"artist_weight": [0.8, 0.4, 1.6], "album_weight": [2.4, 1.6, 3.6], "alpha": [60, 30, 120]},
    "gf-cf": {"artist_weight": [0.8, 0.4, 1.2], "album_weight": [1.2, 0.8, 1.8]},
}
ORDER_GRID = {"rate": [12, 3, 6, 20, 30], "base": [0.1, 0, 0.05, 0.2, 0.4]}


class Validation:
    """The training matrix and the validation part of one split, and what a setting is worth there."""

    def __init__(self, playlists: Playlists, by: str, seed: int):
        split = make_split(playlists, by, seed=seed)
        train, shape = split.train, (playlists.num_playlists, playlists.num_tracks)
        self.part = Part(train, split.val, split.given_val, *shape)
        self.positions = shown_tracks(train, *shape).scipy()
        self.X = self.positions.sign()
        self.owners = playlists.track_artist, playlists.track_album

    def measure(self, score) -> dict[str, float]:
        means, _ = self.part.measure(score, KS)
        return {name: round(means[name], 5) for name in COLUMNS}

    def of_fitted(self, method, rate: float | None, base: float) -> dict[str, float]:
        Q = baselines.recency(self.positions, rate, base)
        return self.measure(lambda ids: torch.from_numpy(method.score(Q[ids.numpy()])))

    def fit(self, method, artist_weight: float = 0, album_weight: float = 0, **settings):
        stacked = baselines.stack_content(self.X, *self.owners, artist_weight, album_weight)
        return replace(method, **settings).fit(stacked)


def coordinate_search(worth: Callable[[dict], dict], start: dict,
                      grid: dict[str, list]) -> tuple[dict, dict, int]:
    """One setting at a time, round after round until nothing changes → best settings, their metrics, how many
    were tried.

    `worth` maps settings to metrics; it is asked once about each. `start` has a value for every name in
    `grid`.
    """
    tried = {}

    def metrics_of(settings: dict) -> dict:
        key = tuple(settings[name] for name in grid)
        if key not in tried:
            tried[key] = worth(settings)
        return tried[key]

    best, before = start, None
    while best != before:
        before = best
        for name, values in grid.items():
            candidates = [best] + [best | {name: value} for value in values if value != best[name]]
            best = max(candidates, key=lambda settings: metrics_of(settings)[SELECT_BY])
    return best, metrics_of(best), len(tried)


def tune(name: str, validation: Validation) -> list[dict]:
    """Plain, content, order: one row a stage."""
    method, rows = BASELINES[name].method, []

    def stage(title: str, grid: dict, start: dict, worth: Callable[[dict], dict]) -> dict:
        started = time.perf_counter()
        settings, metrics, tried = coordinate_search(worth, start, grid)
        rows.append({"method": name, "stage": title, "settings": settings, "validation": metrics,
                     "grid": grid, "tried": tried, "seconds": round(time.perf_counter() - started, 1)})
        print(name, title, settings, metrics, f"{tried} tried, {rows[-1]['seconds']} s", flush=True)
        return settings

    def refitted(settings: dict) -> dict:
        return validation.of_fitted(validation.fit(method, **settings), None, 0)

    settings = stage("plain", GRID[name], {key: values[0] for key, values in GRID[name].items()}, refitted)
    if name in CONTENT_GRID:
        grid = CONTENT_GRID[name]
        grid = grid | {key: values for key, values in GRID[name].items() if key not in grid}
        start = settings | {key: values[0] for key, values in CONTENT_GRID[name].items()}
        settings = stage("content", grid, start, refitted)
        fitted = validation.fit(method, **settings)
        stage("order", ORDER_GRID, {key: values[0] for key, values in ORDER_GRID.items()},
              lambda order: validation.of_fitted(fitted, order["rate"], order["base"]))
    return rows


def as_they_stand(names: list[str], validation: Validation) -> list[dict]:
    """BASELINES, plain, with order, with content, with both: what each is worth and how long it takes."""
    rows = []
    for name in names:
        for title, content, order in (("plain", False, False), ("order", False, True),
                                      ("content", True, False), ("content, order", True, True)):
            started = time.perf_counter()
            score = baselines.fit_baseline(name, validation.X, validation.positions, *validation.owners,
                                           content, order)
            seconds = round(time.perf_counter() - started, 2)
            metrics = validation.measure(score)
            rows.append({"method": name, "stage": title, "validation": metrics, "seconds": seconds})
    return rows


def main(argv: list[str] | None = None) -> list[dict]:
    """Print and return the rows, and write them unless --no-search."""
    parser = arguments(__doc__)
    parser.add_argument("--split-by", choices=["last", "random"], default="last", help="which validation "
                        "part chooses; a random one flatters content (default: last)")
    parser.add_argument("--methods", nargs="+", choices=sorted(BASELINES), default=list(BASELINES),
                        metavar="NAME", help="which baselines (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a random split (default: 0)")
    parser.add_argument("--no-search", action="store_true",
                        help="measure BASELINES as they stand, write nothing")
    parser.add_argument("--out", type=Path, default=TUNED,
                        help=f"where the winners go (default: benchmarks/results/{TUNED.name})")
    args = parser.parse_args(argv)

    validation = Validation(mpd.load(args.data), args.split_by, args.seed)
    if args.no_search:
        rows = as_they_stand(args.methods, validation)
    else:
        rows = [row for name in args.methods for row in tune(name, validation)]
        command = ["python", "benchmarks/tune_baselines.py", *(sys.argv[1:] if argv is None else argv)]
        rows = [row | {"split_by": args.split_by, "command": shlex.join(command)} for row in rows]
        written = json.loads(args.out.read_text()) if args.out.exists() else []
        others = [row for row in written if row["method"] not in args.methods]
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(others + rows, indent=1) + "\n")
    print(cli.table(["Method", "Form", *COLUMNS, "Seconds"], [
        [row["method"], row["stage"], *row["validation"].values(), row["seconds"]] for row in rows]))
    return rows


if __name__ == "__main__":
    cli.run(main)
