"""Measure trained runs: one row a run, on the split it was trained with.

    python evaluate.py --k 10 300                       the newest run, on its test part
    python evaluate.py --run runs/a runs/b --baselines  several runs and the baselines in one table

How a playlist in a slice becomes a number in the table: train.py wrote the split; here the message graph is built
again from its training links, the best parameters embed every node, the catalogue is ranked for every playlist with
held-out tracks (ranking/protocol.py), and the hits are averaged (ranking/metrics.py).
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import cli
import runs
from errors import InputError
from gnn import Net, make_model, view_of
from gnn.graph import HeteroGraph
from gnn.readout import score_tables
from gnn.sparse import Adj
from mpd.build import build_graph, shown_tracks
from ranking.baselines import BASELINES, fit_baseline
from ranking.protocol import Part, dot_scores
from ranking.topk import Score
from sampling.negatives import Negatives

AUC_SEED = 0
LARGEST_FOR_EASE = 20_000        # playlists or tracks, whichever are fewer: 20,000² float32 are 1.6 GB


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="evaluate.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", type=Path, nargs="+", metavar="RUN", help="run folders (default: the newest)")
    parser.add_argument("--k", type=int, nargs="+", default=[10, 300], help="lengths of the list that is judged")
    parser.add_argument("--split", choices=["val", "test"], default="test", help="which held-out part to score")
    parser.add_argument("--baselines", action="store_true", help="add the classic methods, on the first run's split")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON instead of a table")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    return parser.parse_args(argv)


def open_part(folder: Path, name: str, ks: list[int]) -> tuple[Part, Adj, Tensor]:
    """The part of a run's split to score, what its cold playlists show (`score_tables`), and for each of its pairs a
    track that its playlist does not hold.

    Raises InputError if the part is empty or a k is larger than the catalogue.
    """
    parts = ("train", "val", "given_val") if name == "val" else runs.PARTS
    split, catalogue = runs.load_split(folder, parts), runs.load_catalogue(folder)
    held, given = getattr(split, name), getattr(split, f"given_{name}")
    if held.size == 0:
        raise InputError(f"{folder}: its {name} part is empty; evaluate the other part, or train with another --split")
    for k in ks:
        if not 1 <= k <= catalogue.num_tracks:
            raise InputError(f"--k {k}: must lie between 1 and the {catalogue.num_tracks:,} tracks of {folder}")
    part = Part(split.train, held, given, catalogue.num_playlists, catalogue.num_tracks)
    everything = [tuple(getattr(split, p)) for p in parts]
    playlist, track = (torch.from_numpy(np.concatenate([pairs[c] for pairs in everything])).long() for c in (0, 1))
    draws = Negatives(playlist, track, catalogue.num_playlists, catalogue.num_tracks,
                      torch.Generator().manual_seed(AUC_SEED))
    shown = shown_tracks(given, catalogue.num_playlists, catalogue.num_tracks)
    return part, shown, draws.draw(*part.held, 1).squeeze(1)


def network(folder: Path, device: torch.device) -> tuple[Net, HeteroGraph]:
    """A run's network as it started, and the graph it sees: built from the run's training links alone."""
    settings, catalogue = runs.load_config(folder)["settings"], runs.load_catalogue(folder)
    train = runs.load_split(folder, ("train",)).train
    graph = build_graph(catalogue, train, settings["node_types"], settings["relation_weights"], runs.load_features(folder))
    view = view_of(settings["model"], graph).to(device)
    torch.manual_seed(settings["seed"])
    return make_model(view, **settings).to(device), view


def tables_of(folder: Path, given: Adj, device: torch.device) -> tuple[Tensor, Tensor]:
    """Playlists (P, D) and tracks (T, D) as the run's best parameters see them."""
    net, view = network(folder, device)
    try:
        net.load_state_dict(runs.load_checkpoint(folder / "best.pt", device)["net"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise InputError(f"{folder}/best.pt: not of this run ({str(error).splitlines()[0][:80]}); restore it from a "
                         f"copy, or train again") from error
    return tables(folder, net, view, given)


def tables(folder: Path, net: Net, view: HeteroGraph, given: Adj) -> tuple[Tensor, Tensor]:
    """The read-out that the run's settings describe, of any parameters."""
    settings, train = runs.load_config(folder)["settings"], runs.load_split(folder, ("train",)).train
    return score_tables(net.embed(view), shown_tracks(train, *given.shape), given, settings["score"],
                        settings["recency"], settings["track_weight"])


def baseline_scores(folder: Path, given: Adj) -> Iterator[tuple[str, Score]]:
    """Every classic method on the run's training links, as (name, score): plain, and with all that the graph models
    are given, artists and albums as content and, where ends of playlists are hidden, the order of the tracks."""
    catalogue, settings = runs.load_catalogue(folder), runs.load_config(folder)["settings"]
    train = shown_tracks(runs.load_split(folder, ("train",)).train, *given.shape).scipy()
    positions = train + given.scipy()                   # a cold playlist has given tracks and no training link
    content = catalogue.num_artists + catalogue.num_albums > 0
    order = settings["split_by"] == "last"              # a random part is no continuation: there, order misleads
    for name in tqdm(BASELINES, "baselines", disable=None, leave=False):
        if name == "ease" and min(train.shape) > LARGEST_FOR_EASE:
            print(f"baselines: ease left out, it would invert a dense matrix of {min(train.shape):,}²", file=sys.stderr)
            continue
        forms = [(False, False)] if name == "popularity" else [(False, False), (content, order)]
        for with_content, with_order in dict.fromkeys(forms):
            label = name + " + content" * with_content + " + order" * with_order
            yield label, fit_baseline(name, train.sign(), positions, catalogue.track_artist, catalogue.track_album,
                                      with_content, with_order)


def main(argv: list[str] | None = None) -> list[dict]:
    """Print and return the rows."""
    args = parse(argv)
    device = cli.choose_device(args.device)
    rows = []
    for folder in args.run or [runs.newest()]:
        settings = runs.load_config(folder)["settings"]
        part, given, against = open_part(folder, args.split, args.k)
        score = dot_scores(*tables_of(folder, given, device))
        row = {"model": settings["model"], "negatives": settings["neg"], "loss": settings["loss"]}
        rows.append(row | part.measure(score, args.k, against)[0])
        runs.save_json(folder / "metrics.json", {"split": args.split, "k": args.k} | rows[-1])
    if args.baselines:
        folder = (args.run or [runs.newest()])[0]
        part, given, against = open_part(folder, args.split, args.k)
        for name, score in baseline_scores(folder, given):
            rows.append({"model": name, "negatives": "-", "loss": "-"} | part.measure(score, args.k, against)[0])
    print(json.dumps(rows, indent=1, ensure_ascii=False) if args.json else as_table(rows, args.k))
    return rows


def as_table(rows: list[dict], ks: list[int]) -> str:
    columns = {"Model": "model", "Negatives": "negatives", "Loss": "loss", "AUC": "auc"}
    for name, key in (("Recall", "recall"), ("NDCG", "ndcg")):
        columns |= {f"{name}@{k}": f"{key}@{k}" for k in ks}
    columns["R-precision"] = "r_precision"
    for name, key in (("Novelty", "novelty"), ("Coverage", "coverage")):
        columns |= {f"{name}@{k}": f"{key}@{k}" for k in ks}
    return cli.table(list(columns), [[row[key] for key in columns.values()] for row in rows])


if __name__ == "__main__":
    cli.run(main)
