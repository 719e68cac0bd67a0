"""Measure trained runs: one row a run, on the split it was trained with.

    python evaluate.py --k 10 300                       the newest run, on its test part
    python evaluate.py --run runs/a runs/b --baselines  several runs and the baselines in one table
    python evaluate.py --run runs/a runs/b --together   and both as one

How a playlist in a slice becomes a number in the table: train.py wrote the split; here the message graph is built
again from its training links, the best parameters embed every node, the catalogue is ranked for every playlist with
held-out tracks (ranking/protocol.py), and the hits are averaged (ranking/metrics.py).
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from common import cli
from common.errors import InputError
from common.memory import available
from gnn.readout import score_tables
from gnn.sparse import Adj
from mpd.split import NO_PAIRS, joined
from mpd.synthetic import genres_of
from ranking.baselines import BASELINES, baseline_needs, fit_baseline
from ranking.metrics import pair_auc
from ranking.protocol import Part, dot_scores
from recommending.rerank import penalised
from ranking.topk import Score
from sampling.negatives import Negatives
from training.folder import save_json
from training.trained import Together, Trained

AUC_SEED = 0


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="evaluate.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", type=Path, nargs="+", metavar="RUN", help="run folders (default: the newest)")
    parser.add_argument("--together", action="store_true", help="add a row for all the runs as one, their vectors side "
                        "by side; they must share their split (train.py --split-seed)")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 300], help="lengths of the list that is judged")
    parser.add_argument("--split", choices=["val", "test"], default="test", help="which held-out part to score")
    parser.add_argument("--popularity-penalty", type=cli.finite, nargs="+", default=[0.0], metavar="P", help="weights "
                        "of popularity against the score, one row each: what novelty and coverage cost in recall")
    parser.add_argument("--baselines", action="store_true", help="add the classic methods, on the first run's split")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    return parser.parse_args(argv)


class Question(NamedTuple):
    """What a part of a split asks. A playlist's tracks in their order, where its end is hidden:

        train · · · · · | val · · | test ·
        └─── shown ───┘   └ held ┘              asked is val
        └─── shown ── between ──┘ └ held ┘      asked is test: val lies between, and is shown though not learnt from

        given · · · | held · · · · · · · ·      a cold playlist, of which training saw nothing

    part     ranking.protocol.Part: the held pairs, what is known, how often tracks were trained on
    shown    (P, T) what trained playlists show, given (P, T) what cold ones do, valued by the tracks' places
    against  (n,) for each held pair a track that its playlist does not hold, for the AUC
    """
    part: Part
    shown: Adj
    given: Adj
    against: Tensor


def open_part(run: Trained, name: str, ks: list[int]) -> Question:
    """A part of a run's split, "val" or "test". Without what lies between, the test part would continue playlists whose
    last tracks nobody has seen; a random part lies among the links, with nothing between.

    Raises InputError if the part is empty or a k is larger than the catalogue.
    """
    P, T = run.playlists.num_playlists, run.playlists.num_tracks
    parts = ("val", "given_val") if name == "val" else ("val", "test", "given_val", "given_test")
    known = dict(zip(parts, run.held_out(*parts)))
    held, given = known[name], known[f"given_{name}"]
    if held.size == 0:
        raise InputError(f"{run.folder}: its {name} part is empty; evaluate the other part, or train with another "
                         f"--split")
    for k in ks:
        if not 1 <= k <= T:
            raise InputError(f"--k {k}: must lie between 1 and the {T:,} tracks of {run.folder}")
    playlist, track = (torch.from_numpy(ids).long() for ids in tuple(joined(run.train, *known.values()))[:2])
    draws = Negatives(playlist, track, P, T, torch.Generator().manual_seed(AUC_SEED))
    between = known["val"] if name == "test" and run.settings.split_by == "last" else NO_PAIRS
    part = Part(run.train, held, joined(given, between), P, T)
    shown = run.places(joined(run.train, between))
    return Question(part, shown, run.places(given), draws.draw(*part.held, 1).squeeze(1))


def nearness(run: Trained) -> dict[str, float]:
    """Do the embeddings mean something? By name, the AUC of track pairs of one album, one artist and, where the data
    were planted, one genre against random pairs (`ranking.metrics.pair_auc`); nothing where no two tracks share any."""
    planted = genres_of(run.playlists)
    groups = {"album": run.playlists.track_album, "artist": run.playlists.track_artist}
    groups |= {} if planted is None else {"genre": planted[0]}
    found = {f"same_{name}_auc": pair_auc(run.embeddings["track"], torch.from_numpy(group).long())
             for name, group in groups.items()}
    return {name: auc for name, auc in found.items() if auc is not None}


def baseline_scores(run: Trained, shown: Adj, given: Adj) -> Iterator[tuple[str, Score]]:
    """Every classic method on the run's training links, as (name, score): plain, with artists and albums as content,
    and, where ends of playlists are hidden, with the order of the tracks as well: all that the graph models are given.
    A method that cannot fit into memory is left out, and named. shown, given (P, T): as `open_part` gives them."""
    train = run.places(run.train).scipy()
    positions = shown.scipy() + given.scipy()           # a cold playlist has given tracks and no link
    content = run.playlists.num_artists + run.playlists.num_albums > 0
    order = run.settings.split_by == "last"          # a random part is no continuation: there, order misleads
    X, owners, too_large = train.sign(), (run.playlists.track_artist, run.playlists.track_album), set()
    forms = [(name, *form) for name in BASELINES for form in dict.fromkeys(
        [(False, False)] if name == "popularity" else [(False, False), (content, False), (content, order)])]
    bar = tqdm(forms, "baselines", disable=None, leave=False)
    for name, with_content, with_order in bar:
        label = name + " + content" * with_content + " + order" * with_order
        need, free = baseline_needs(name, X, *owners, with_content), available()
        bar.set_postfix_str(f"{label}, {need / 1e9:.1f} GB")
        if free is None or need <= free:
            yield label, fit_baseline(name, X, positions, *owners, with_content, with_order)
        elif name not in too_large:
            too_large.add(name)
            print(f"baselines: {label} left out, it would need about {need / 1e9:,.0f} GB of memory, and "
                  f"{free / 1e9:,.0f} GB are free", file=sys.stderr)


def tradeoff(run: Trained, name: str, penalties: list[float], ks: list[int]) -> list[dict]:
    """A run's metrics on a part of its split, one row a popularity penalty (`ranking.rerank.penalised`)."""
    asked = open_part(run, name, ks)
    part, score = asked.part, dot_scores(*score_tables(run.readout, asked.given, asked.shown))
    row = {"run": run.name} | run.label
    near = nearness(run)
    try:
        return [row | {"popularity_penalty": penalty} | near |
                part.measure(lambda ids: penalised(score(ids), part.counts, penalty), ks, asked.against)[0]
                for penalty in penalties]
    except ValueError as error:
        raise InputError(f"{run.folder}: {error}; train again with a smaller --lr") from error


def main(argv: list[str] | None = None) -> list[dict]:
    """Print and return the rows."""
    args = parse(argv)
    device = cli.choose_device(args.device)
    opened, rows = [Trained(folder, device) for folder in args.run or [None]], []
    together = [Together(opened)] if args.together else []
    for run in opened:
        measured = tradeoff(run, args.split, args.popularity_penalty, args.k)
        rows += measured
        save_json(run.folder / "metrics.json", {"split": args.split, "k": args.k} | measured[0])
        if args.split == "test" and run.held_out("val")[0].size:
            print(f"{run.folder} has not learnt from its validation links yet: python train.py --refit {run.folder}",
                  file=sys.stderr)
    for run in together:
        rows += tradeoff(run, args.split, args.popularity_penalty, args.k)
    first = opened[0]
    if args.baselines:
        asked = open_part(first, args.split, args.k)
        for name, score in baseline_scores(first, asked.shown, asked.given):
            row = {"run": "-", "model": name, "negatives": "-", "loss": "-", "popularity_penalty": 0.0}
            rows.append(row | asked.part.measure(score, args.k, asked.against)[0])
            del score                                       # and its matrices, before the next are made
    print(json.dumps(rows, indent=1, ensure_ascii=False) if args.json else as_text(rows, args.k))
    return rows


def as_text(rows: list[dict], ks: list[int]) -> str:
    """The table, and below it what the embeddings say of tracks that belong together."""
    columns = {"Run": "run"} if len({row["run"] for row in rows} - {"-"}) > 1 else {}
    columns |= {"Model": "model", "Negatives": "negatives", "Loss": "loss"}
    columns |= {"Penalty": "popularity_penalty"} if any(row["popularity_penalty"] for row in rows) else {}
    columns |= {"AUC": "auc"}
    for name, key in (("Recall", "recall"), ("NDCG", "ndcg")):
        columns |= {f"{name}@{k}": f"{key}@{k}" for k in ks}
    columns["R-precision"] = "r_precision"
    for name, key in (("Novelty", "novelty"), ("Coverage", "coverage")):
        columns |= {f"{name}@{k}": f"{key}@{k}" for k in ks}
    text = cli.table(list(columns), [[row[key] for key in columns.values()] for row in rows])
    near = [name for name in rows[0] if name.startswith("same_")]
    if near:
        who = {label: key for label, key in columns.items() if key in ("run", "model")}
        of_runs = dict.fromkeys(tuple(row[key] for key in [*who.values(), *near]) for row in rows if near[0] in row)
        text += "\n\nTracks that belong together are nearer than random ones (AUC of the cosine)\n" + cli.table(
            [*who, *(name.removesuffix("_auc").replace("_", " ") for name in near)], list(of_runs))
    return text


if __name__ == "__main__":
    cli.run(main)
