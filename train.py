"""Train a graph neural network to continue playlists.

    python train.py                                          synthetic playlists, LightGCN, about a minute
    python train.py --data mpd/data --slices 50 --model gcn  the first 50 slices of the Million Playlist Dataset
    torchrun --nproc-per-node 2 train.py --model hgt         two processes share every batch

How a batch becomes a gradient:

    main ── start_run        data → split → run folder          mpd/, runs.py
      │  └─ make_model       inputs and model                   gnn/
      └─ for every epoch
           ├─ links          sample pairs, negatives, blocks    sampling/
           ├─ net            layer 0 → message passing          gnn/inputs.py, gnn/<model>.py
           ├─ batch_loss     scores → loss                      ranking/losses.py
           ├─ backward, step
           └─ validate       rank the catalogue, keep the best  ranking/protocol.py
"""
from __future__ import annotations

import argparse
import math
import platform
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from common import cli
import mpd
from training import folder as runs
from common.errors import InputError
from gnn import MODELS, make_model, own_settings, view_of
from gnn.graph import HeteroGraph
from gnn.inputs import RowAdam
from gnn.readout import ReadOut, scaled, score_tables
from audio.store import track_features
from mpd.build import NODE_TYPES, RELATION_WEIGHTS, build_graph, census, provenance, shown_tracks
from mpd.kcore import k_core
from mpd.playlists import Playlists
from mpd.split import Split, make_split
from training.processes import Processes
from ranking import losses
from ranking.protocol import Part, dot_scores, popularity_scores
from ranking.topk import Known, rank
from sampling.links import Batch, FullGraphLinks, Links, SampledLinks
from sampling.negatives import BestOf, Mixed, Negatives, SemiHard, TopWindow, pair_keys, popularity_weights
from sampling.neighbors import FULL, NeighborSampler

SELECT_BY = "ndcg@10"           # the validation metric that chooses the epoch; AUC never does
VALIDATE_AT = [10, 100]
COLUMNS = ["recall@10", "ndcg@10", "r_precision", "recall@100"]
RESUMABLE = {"resume", "epochs", "device"}      # flags that may differ from the run that is resumed,
REFITTABLE = {"refit", "epochs", "device", "out"}                               # and from the one that is refitted
ADAM_EPS = 1e-6             # above the rounding noise of a gradient, which 1e-8 would blow up to a step
FULL_GRAPH_EDGES = 2_000_000                    # up to here a step on the whole graph is cheaper than a sampled batch

# What a flag is where it is not given: by loss, and by model where one wants its own. All that was tuned stands here.
BY_LOSS = {
    "softmax": {"score": "cosine", "temperature": 0.1, "batch_size": 8192, "weight_decay": 0.0, "epochs": 12,
                "patience": 4, "owners": True, "relation_weights": [1.0, 1.0, 1.0]},
    "bpr": {"score": "dot", "temperature": 1.0, "batch_size": 2048, "weight_decay": 1e-4, "epochs": 30, "patience": 6,
            "owners": False},
    "bce": {"score": "dot", "temperature": 1.0, "batch_size": 2048, "weight_decay": 1e-4, "epochs": 30, "patience": 6,
            "owners": False},
}
BY_MODEL = {
    "lightgcn": {"softmax": {"dim": 384, "temperature": 0.08, "exponent": 0.4, "edge_dropout": 0.5},
                 "bpr": {"epochs": 60}, "bce": {"epochs": 60}},
    "gcn": {"softmax": {"dim": 256, "temperature": 0.08, "edge_dropout": 0.5}},
    "sage": {"softmax": {"dim": 128, "lr": 0.005, "edge_dropout": 0.5}},
    "gat": {"softmax": {"dim": 128, "lr": 0.003}},
    "rgcn": {"softmax": {"dim": 128, "lr": 0.003}},
    "hetero-sage": {"softmax": {"dim": 128, "lr": 0.003}},
    "hgt": {"softmax": {"dim": 128, "lr": 0.003}, "bpr": {"epochs": 20}, "bce": {"epochs": 20}},
}
BY_SPLIT = {"random": {"recency": 0.0}, "last": {"recency": 2.0}, "cold": {"recency": 1.0}}     # cold shows 3 tracks
# Where nothing is held out, no validation stops in time, and what is recommended continues the playlists at their ends.
NOTHING_HELD_OUT = {"recency": 2.0}
EPOCHS_WITHOUT_VALIDATION = {"lightgcn": {"softmax": 5}}        # the median best epoch of validated runs
EVERYWHERE = {"lr": 0.01, "track_weight": 1.0, "dim": 64, "exponent": 0.5, "edge_dropout": 0.0,
              "relation_weights": list(RELATION_WEIGHTS)}


# ---- 1 arguments -----------------------------------------------------------------------------------------------------

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="train.py", description=__doc__.split("\n\n")[0])
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, help="MPD slices (folder, file or .zip), or a folder or .zip with train.txt "
                      "and test.txt; without it, synthetic playlists are made under data/")
    data.add_argument("--slices", type=int, help="read only the first N slices, in numeric order")
    data.add_argument("--skip-bad", action="store_true", help="leave out broken playlists and count them, instead of "
                      "stopping at the first")
    data.add_argument("--k-core", type=int, default=1, help="keep playlists and tracks with at least K links to one "
                      "another; higher is denser, easier and smaller")
    data.add_argument("--node-types", nargs="+", choices=NODE_TYPES, default=list(NODE_TYPES), metavar="TYPE",
                      help="which nodes the graph has; leave out artist or album to see what they are worth")
    data.add_argument("--relation-weights", nargs=3, type=float, metavar=("PLAYLIST", "ARTIST", "ALBUM"),
                      help="weight of a track's links to each (default: 1 0.2 0.3, with softmax 1 1 1)")
    data.add_argument("--split", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"),
                      help="shares of the links; 1 0 0 trains on everything (default: 0.8 0.1 0.1, or 1 0 0 of the "
                      "training part when the data bring a test part)")
    data.add_argument("--split-by", choices=["random", "last", "cold"], default="random",
                      help="hide random links, the end of every playlist, or whole playlists")
    data.add_argument("--features", type=Path, metavar="STORE", help="audio features of the tracks, as "
                      "fetch_audio_features.py stores them, added to every track's input; without it tracks are known by "
                      "their links alone")
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=sorted(MODELS), default="lightgcn", help="how messages are passed")
    model.add_argument("--dim", type=int, help="length of every embedding; more memorises more (default: 64, with "
                       "softmax 128, gcn 256, lightgcn 384)")
    model.add_argument("--layers", type=int, default=2, help="how many hops a message travels")
    model.add_argument("--heads", type=int, default=4, help="attention heads of gat and hgt; must divide --dim")
    model.add_argument("--bases", type=int, default=0, help="rgcn: relations share this many matrices; 0 gives each its "
                       "own")
    model.add_argument("--owners", action=argparse.BooleanOptionalAction, help="a track starts from its artist's and "
                       "album's embeddings besides its own, so that rare tracks start somewhere (default: with softmax)")
    model.add_argument("--exponent", type=float, help="lightgcn: how strongly degrees are divided out; below 0.5 popular "
                       "tracks speak louder (default: 0.5, with softmax 0.4)")
    model.add_argument("--recency", type=float, help="how fast earlier tracks fade when a playlist is summed up by its "
                       "tracks: the k-th from the end counts k^-RECENCY; 0 is blind to order (default: 2, 1 for cold "
                       "playlists, 0 where random links are held out, which continue nothing)")
    model.add_argument("--track-weight", type=float, help="weight of that sum beside the playlist's own embedding when "
                       "scoring; 0 leaves the embedding alone (default: 1)")
    model.add_argument("--dropout", type=float, default=0.0, help="share of features zeroed between layers, where the "
                       "model has weights")
    learning = parser.add_argument_group("learning")
    learning.add_argument("--loss", choices=["bce", "bpr", "softmax"], help="bce judges each link alone, bpr a link "
                          "against a negative, softmax a link against the whole catalogue (default: softmax, or bpr "
                          "where --neg is given)")
    learning.add_argument("--score", choices=["dot", "cosine"], help="cosine gives every node the same length, so that "
                          "popular tracks cannot win by theirs (default: cosine for softmax, else dot)")
    learning.add_argument("--temperature", type=float, help="scores are divided by it in the loss; a low one dwells on "
                          "the hardest comparisons (default: 0.1 for softmax, lightgcn and gcn 0.08, else 1)")
    learning.add_argument("--batch-size", type=int, help="links a step (default: 8192 for softmax, else 2048)")
    learning.add_argument("--epochs", type=int, help="passes over the training links at most (default: 12 for softmax, "
                          "else 30, lightgcn 60, hgt 20; lightgcn with softmax 5 where nothing is held out to stop it)")
    learning.add_argument("--lr", type=float, help="Adam's step size (default: 0.01; with softmax sage 0.005, gat, rgcn, "
                          "hetero-sage and hgt 0.003)")
    learning.add_argument("--lr-decay", action=argparse.BooleanOptionalAction, default=False, help="lower the step size "
                          "to zero along a cosine over --epochs")
    learning.add_argument("--weight-decay", type=float, help="pull on the input embeddings of a batch (default: 0 for "
                          "softmax, else 1e-4)")
    learning.add_argument("--patience", type=int, help=f"epochs without a better validation {SELECT_BY} before stopping "
                          "(default: 4 for softmax, else 6)")
    negatives = parser.add_argument_group("negatives")
    negatives.add_argument("--neg", choices=["random", "hard"], help="negatives drawn at random, or tracks that the "
                           "model wrongly likes (default: none are drawn, softmax takes the whole catalogue)")
    negatives.add_argument("--num-neg", type=int, default=1, help="negatives a link")
    negatives.add_argument("--neg-power", type=float, default=0.0, metavar="A", help="draw tracks ∝ popularity^A; 0 is "
                           "uniform, 0.75 meets popular tracks more often")
    negatives.add_argument("--miner", choices=["best-of", "window"], default="best-of", help="hard: the best scored of "
                           "some random tracks, or any of the playlist's top tracks")
    negatives.add_argument("--candidates", type=int, default=16, metavar="M", help="best-of: how many random tracks; "
                           "more is harder, and past a hundred mostly unlabelled positives")
    negatives.add_argument("--among", type=int, default=1, metavar="N", help="best-of: any of the N best scored")
    negatives.add_argument("--window", type=int, default=1000, metavar="N", help="window: how deep; the top 100 are "
                           "mostly unlabelled positives")
    negatives.add_argument("--guard", type=int, default=0, metavar="N", help="hard: pass over the N best scored, which "
                           "are the likeliest false negatives")
    negatives.add_argument("--mix", type=float, default=0.0, metavar="SHARE", help="hard: this share stays random")
    negatives.add_argument("--semi-hard", type=float, default=0.0, metavar="SHARE", help="hard: this share comes from "
                           "the positive's own artist or album, unscored")
    negatives.add_argument("--warm-up", type=int, default=1, metavar="EPOCHS", help="hard: random draws first")
    negatives.add_argument("--refresh", type=int, default=1, metavar="EPOCHS", help="hard: how often the embeddings "
                           "that score the candidates are renewed; best-of on the whole graph does so every step")
    scale = parser.add_argument_group("sampling and scale")
    scale.add_argument("--fanout", nargs="+", metavar="K", help="neighbours that a node draws from each relation, a "
                       "number a hop (20 10), or full: the whole graph in every step (default: full up to "
                       f"{FULL_GRAPH_EDGES:,} edges, else 20 10 …)")
    scale.add_argument("--draw", choices=["shuffled", "independent"], default="shuffled", help="neighbours from rows "
                       "shuffled once an epoch, or drawn afresh each time, which is slower")
    scale.add_argument("--edge-dropout", type=float, help="share of links whose messages are left out of a step on the "
                       "whole graph (default: 0, with softmax lightgcn, gcn and sage 0.5)")
    run = parser.add_argument_group("run")
    run.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    run.add_argument("--seed", type=int, default=0, help="seeds the start and every draw, and the split where "
                     "--split-seed is not given")
    run.add_argument("--split-seed", type=int, help="seeds the split alone: runs that differ in --seed and share it can be "
                     "measured together (evaluate.py --together) (default: --seed)")
    run.add_argument("--out", type=Path, help="run folder (default: runs/<model>-<neg>-<loss>-<time>, or "
                     "runs/<RUN>-refit-<time>)")
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on where RUN stopped, with its own settings; only "
                     "--epochs and --device may be given beside it")
    run.add_argument("--refit", type=Path, metavar="RUN", help="learn anew with RUN's settings from its training and "
                     "validation links together, for the epochs that its validation chose: what the test part is scored "
                     "with; only --epochs, --device and --out may be given beside it")
    args = parser.parse_args(argv)
    given = cli.given(parser, argv)
    if args.resume is not None:
        args = _as_in_run("resume", RESUMABLE, args, given)
        args.out = args.resume
    elif args.refit is not None:
        args = _refitted(args, given)
    if args.loss is None:
        args.loss = "softmax" if args.neg is None else "bpr"
    if args.loss == "softmax" and args.neg in ("random", "hard"):
        raise InputError(f"--neg {args.neg} --loss softmax: softmax compares with the whole catalogue; leave --neg out, "
                         f"or choose --loss bpr")
    if args.neg is None:
        args.neg = "all" if args.loss == "softmax" else "random"
    if args.split_seed is None:
        args.split_seed = args.seed
    held_out = args.split is None or args.split[0] < 1
    by_model = BY_MODEL.get(args.model, {}).get(args.loss, {})
    settings = EVERYWHERE | BY_LOSS[args.loss] | by_model | (BY_SPLIT[args.split_by] if held_out else NOTHING_HELD_OUT)
    if not held_out:
        settings["epochs"] = EPOCHS_WITHOUT_VALIDATION.get(args.model, {}).get(args.loss, settings["epochs"])
    for name, value in settings.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    _check(args, given)
    return args


def _as_in_run(flag: str, changeable: set[str], args: argparse.Namespace, given: set[str]) -> argparse.Namespace:
    """The settings of the run that --resume or --refit names, with what was given beside it."""
    if given - changeable:
        flags = " ".join(f"--{name.replace('_', '-')}" for name in sorted(given - changeable))
        raise InputError(f"--{flag} keeps the settings of its run; {flags} cannot change: leave it out, or train anew")
    of_run = runs.load_config(getattr(args, flag))["settings"]
    if of_run.get("draw") == "window":                                      # what older run folders call shuffled rows
        of_run["draw"] = "shuffled"
    return argparse.Namespace(**vars(args) | {k: v for k, v in of_run.items() if k not in given | {"out", "resume", "refit"}})


def _refitted(args: argparse.Namespace, given: set[str]) -> argparse.Namespace:
    """The settings of the run to refit, and the epochs that its validation chose."""
    settings, history = _as_in_run("refit", REFITTABLE, args, given), runs.load_history(args.refit)
    scores = [row.get(SELECT_BY, math.nan) for row in history]
    if SELECT_BY not in history[0]:
        raise InputError(f"--refit {args.refit}: this run held nothing out for validation, so there is nothing to add; use "
                         f"it as it is")
    if not all(map(math.isfinite, scores)):
        raise InputError(f"{args.refit}/history.csv: damaged ({SELECT_BY} is not a number everywhere); train the run again")
    if "epochs" not in given:
        best = scores.index(max(scores)) + 1
        if len(scores) < min(settings.epochs, best + settings.patience):
            raise InputError(f"--refit {args.refit}: this run has not finished; --resume {args.refit} first, or give "
                             f"--epochs")
        settings.epochs = best
    return settings


def _check(args: argparse.Namespace, given: set[str]) -> None:
    """Raises InputError for settings that cannot work together."""
    for name in sorted((given & {"heads", "bases", "dropout", "exponent"}) - own_settings(args.model)):
        raise InputError(f"--{name}: {args.model} has no such setting; leave it out")
    if "heads" in own_settings(args.model) and args.dim % args.heads:
        raise InputError(f"--heads {args.heads} does not divide --dim {args.dim}")
    for name in ("dim", "layers", "heads", "batch_size", "num_neg", "candidates", "among", "window", "epochs",
                 "patience", "refresh"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be at least 1")
    for name in ("dropout", "edge_dropout", "mix", "semi_hard"):
        if not 0 <= getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be at least 0 and below 1")
    for name in ("k_core", "bases", "guard", "warm_up", "seed", "split_seed", "weight_decay", "neg_power", "recency",
                 "track_weight"):
        if not 0 <= getattr(args, name) < 2 ** 31:
            raise InputError(f"--{name.replace('_', '-')} {getattr(args, name)}: must be at least 0")
    for name in ("lr", "temperature"):
        if not 0 < getattr(args, name) < math.inf:
            raise InputError(f"--{name} {getattr(args, name):g}: must be above 0")
    if not all(0 < weight < math.inf for weight in args.relation_weights):
        raise InputError(f"--relation-weights {' '.join(f'{w:g}' for w in args.relation_weights)}: must be above 0; "
                         f"--node-types leaves out artists or albums")
    if args.neg_power > 2:
        raise InputError(f"--neg-power {args.neg_power:g}: at most 2; 0.75 is usual")
    if args.mix + args.semi_hard > 1:
        raise InputError(f"--mix {args.mix:g} and --semi-hard {args.semi_hard:g}: shares of the same draws, 1 at most")
    if args.neg != "hard":
        useless = given & {"miner", "candidates", "among", "window", "guard", "mix", "semi_hard", "warm_up", "refresh"}
        useless |= given & {"num_neg", "neg_power"} if args.loss == "softmax" else set()
        for name in sorted(useless):
            raise InputError(f"--{name.replace('_', '-')}: means nothing with {args.neg} negatives; give --neg too, or "
                             f"leave it out")
    sampled = args.fanout is not None and args.fanout != ["full"]
    if args.edge_dropout and (sampled or "heads" in own_settings(args.model)):
        if "edge_dropout" in given:
            raise InputError(f"--edge-dropout: for messages over the whole graph without attention; {args.model} "
                             f"{'on sampled blocks ' if sampled else ''}has none, leave it out")
        args.edge_dropout = 0.0
    if args.guard + args.among > args.candidates and args.miner == "best-of":
        raise InputError(f"--guard {args.guard} and --among {args.among} leave none of {args.candidates} --candidates")
    if args.guard >= args.window and args.miner == "window":
        raise InputError(f"--guard {args.guard} leaves nothing of --window {args.window}")
    if sampled:
        if not all(k == "full" or k.isdecimal() and int(k) > 0 for k in args.fanout) or len(args.fanout) != args.layers:
            raise InputError(f"--fanout {' '.join(args.fanout)}: one positive number (or full) for each of the "
                             f"{args.layers} --layers, or full alone")


# ---- the pieces ------------------------------------------------------------------------------------------------------

def prepare(path: Path | None, slices: int | None, skip_bad: bool, core: int, by: str, shares, seed: int):
    """Read, cut to the k-core, split → (playlists as read, playlists kept, split)."""
    before = mpd.load(path, slices=slices, skip_bad=skip_bad)
    playlists = k_core(before, core)
    if shares is None:
        shares = (0.8, 0.1, 0.1) if playlists.own_test is None else (1, 0, 0)
    return before, playlists, make_split(playlists, by, shares, seed)


def start_run(settings: dict) -> Path:
    """Read, split and describe the data, or take them from the run to refit; the split and the settings go to the run
    folder, which is returned."""
    features, known, refit = None, "", settings["refit"]
    if refit is None:
        before, playlists, split = prepare(*(settings[name] for name in ("data", "slices", "skip_bad", "k_core",
                                                                         "split_by", "split", "split_seed")))
        fingerprint, name = runs.fingerprint(playlists), f"{settings['model']}-{settings['neg']}-{settings['loss']}"
        if settings["features"]:
            features, names, coverage = track_features(settings["features"], playlists)
            known = f"features   {len(names)} a track, {coverage:.1%} of the tracks have them"
    else:
        before = playlists = runs.load_catalogue(refit)
        split = runs.load_split(refit, runs.PARTS).refit()                  # the test part is copied, not looked at
        fingerprint, name = runs.load_config(refit).get("data_fingerprint"), f"{refit.resolve().name}-refit"
        if settings["features"]:
            features, known = runs.load_checkpoint(refit / "features.pt")["track"], f"features   those of {refit}"
    out = settings["out"] or runs.fresh_folder(name)
    print("\n".join(filter(None, [playlists.note, provenance(split, before, playlists), known, f"run        {out}"])))
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    runs.create(out, {"settings": settings, "command": shlex.join(["python", *sys.argv]),
                      "data_fingerprint": fingerprint,
                      "versions": {"python": platform.python_version(), "torch": torch.__version__,
                                   "numpy": np.__version__}}, playlists, split, features)
    return out


def make_negatives(playlists: Playlists, split: Split, known: Known, kind: str, power: float, miner: str,
                   candidates: int, among: int, window: int, guard: int, mix: float, semi_hard: float,
                   generator: torch.Generator, device: torch.device):
    """The draws that the flags of the group "negatives" describe."""
    playlist, track = (torch.from_numpy(ids).long().to(device) for ids in (split.train.playlist, split.train.track))
    weights = popularity_weights(track, playlists.num_tracks, power) if power else None
    random = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, generator, weights)
    if kind != "hard":
        return random

    def ranked(playlist_vectors: Tensor, track_vectors: Tensor, depth: int) -> Tensor:
        everyone = torch.arange(playlists.num_playlists)
        return rank(dot_scores(playlist_vectors, track_vectors), everyone, known, depth)[1].to(device)
    hard = TopWindow(random, ranked, window, guard) if miner == "window" else BestOf(random, candidates, among, guard)
    groups = playlists.track_artist, playlists.track_album
    owners = [torch.from_numpy(ids).to(device) for ids in groups if ids.max() >= 0]
    if semi_hard and not owners:
        raise InputError("--semi-hard: these tracks have neither artists nor albums; leave it out")
    others = [(random, mix)] if mix else []
    if semi_hard:
        keys = pair_keys(playlist, track, playlists.num_tracks)
        others = [(SemiHard(random, group, keys), semi_hard / len(owners)) for group in owners] + others
    return Mixed([(hard, 1 - mix - semi_hard), *others], generator) if others else hard


def make_links(view: HeteroGraph, split: Split, num_tracks: int, layers: int, batch_size: int, negatives, num_neg: int,
               fanout: list[str] | None, draw: str, edge_dropout: float, generator: torch.Generator,
               processes: Processes) -> Links:
    """Batches on the whole graph or on sampled blocks, whichever --fanout says or the graph's size suggests."""
    edges = sum(A.num_edges for A in view.adjs.values())
    if fanout is None:
        fanout = ["full"] if edges <= FULL_GRAPH_EDGES else [str(max(20 >> hop, 2)) for hop in range(layers)]
    playlist, track = (torch.from_numpy(ids).long().to(view.device) for ids in tuple(split.train)[:2])
    settings = (view, playlist, track, num_tracks, layers, batch_size, negatives, num_neg, generator)
    share = {"rank": processes.rank, "world": processes.world}
    where = "on the whole graph" if fanout == ["full"] else f"on sampled blocks, fan-out {' '.join(fanout)}"
    if processes.first:
        print(f"messages   {where} ({edges:,} directed edges)")
    if fanout == ["full"]:
        links = FullGraphLinks(*settings, edge_dropout=edge_dropout, **share)
    else:
        sampler = NeighborSampler(view, [FULL if k == "full" else int(k) for k in fanout], torch.Generator(), draw)
        links = SampledLinks(*settings, sampler=sampler, **share)
    if split.val.size:
        links.watch(*(torch.from_numpy(ids).long().to(view.device) for ids in (split.val.playlist, split.val.track)))
    return links


def batch_loss(loss: str, score: str, temperature: float, decay: float, x: dict[str, Tensor], z: dict[str, Tensor],
               batch: Batch, links: Links) -> Tensor:
    """Scores of a batch → its loss, with the L2 pull on its layer-0 rows."""
    P, T = links.playlist_type, links.track_type
    pairs = [(P, batch.playlist), (T, batch.positive)]
    if loss == "softmax":
        playlists, of = batch.playlist.unique(return_inverse=True)                                        # (U,), (B,)
        p, t, catalogue = (scaled(v, score) for v in lookup(z, (P, playlists), pairs[1], (T, batch.catalogue)))
        p = p / temperature                                                                               # (U, D)
        positive = (F.embedding(of, p) * t).sum(1)                                                        # (B,)
        value = losses.softmax(positive, p @ catalogue.t(), of, batch.weight)                             # (U, S)
    else:
        pairs.append((T, batch.negative.flatten()))
        p, t, n = (scaled(v, score) for v in lookup(z, *pairs))                                 # (B, D), n (B · M, D)
        p = p / temperature
        negative = torch.einsum("bd,bmd->bm", p, n.view(*batch.negative.shape, -1))                       # (B, M)
        value = {"bce": losses.bce, "bpr": losses.bpr}[loss]((p * t).sum(1), negative)
    return value + decay * losses.l2(*lookup(x, *pairs)) if decay else value


def lookup(table: dict[str, Tensor], *wanted: tuple[str, Tensor]) -> list[Tensor]:
    """The rows (n, D) of {type: (N_t, D)} for each (type, ids (n,)). All of a type are looked up at once: the gradient
    of a lookup is as large as the table."""
    of_type = {}
    for t in dict.fromkeys(t for t, _ in wanted):
        ids = [i for s, i in wanted if s == t]
        of_type[t] = iter(F.embedding(torch.cat(ids), table[t]).split([len(i) for i in ids]))
    return [next(of_type[t]) for t, _ in wanted]


def make_optimiser(net: nn.Module, sampled: bool, lr: float) -> torch.optim.Optimizer:
    """Adam; on sampled batches only on the embeddings that the batch has touched."""
    net.inputs.sparse_gradients(sampled)
    if sampled:
        return RowAdam(net.parameters(), lr, ADAM_EPS)
    return torch.optim.Adam(net.parameters(), lr=lr, eps=ADAM_EPS, fused=True)


def gradient_norm(net: nn.Module) -> Tensor:
    """L2 norm of all gradients together."""
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    return nn.utils.get_total_norm([g._values() if g.is_sparse else g for g in grads])


class State:
    """All that training changes, so that a resumed run ends bit for bit where an uninterrupted one does."""

    def __init__(self, net: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator, negatives):
        self.net, self.optimiser, self.generator, self.negatives = net, optimiser, generator, negatives
        self.epoch, self.best, self.waited, self.history, self.mined = 0, -1.0, 0, [], None

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        """Mine with these embeddings from now on."""
        self.mined = playlists, tracks
        self.negatives.refresh(playlists, tracks)

    def log(self, row: dict) -> bool:
        """Count an epoch; True if it is the best so far. Without validation the latest is the best."""
        self.epoch += 1
        self.history.append(row)
        if row.get(SELECT_BY, self.best + 1) > self.best:
            self.best, self.waited = row.get(SELECT_BY, self.best), 0
            return True
        self.waited += 1
        return False

    def checkpoint(self) -> dict:
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "epoch": self.epoch,
                "best": self.best, "waited": self.waited, "history": self.history, "mined": self.mined,
                "generator": self.generator.get_state(), "torch": torch.get_rng_state()}

    def restore(self, saved: dict) -> None:
        """Raises InputError if `saved` is no checkpoint of this network."""
        try:
            self.net.load_state_dict(saved["net"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.generator.set_state(saved["generator"].cpu())
            torch.set_rng_state(saved["torch"].cpu())
            self.epoch, self.best, self.waited = saved["epoch"], saved["best"], saved["waited"]
            self.history = saved["history"]
            if saved["mined"] is not None:
                self.refresh(*saved["mined"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"last.pt: not a checkpoint of this run ({str(error).splitlines()[0][:80]}); delete it and "
                             f"train again, or restore it from a copy") from error


def describe(row: dict) -> str:
    """One line an epoch."""
    scores = "  ".join(f"{name} {row[name]:.4f}" for name in (SELECT_BY, "recall@100") if name in row)
    return (f"epoch {row['epoch']:3d}  loss {row['loss']:.4f}  grad {row['grad_norm']:.3g}  {scores}  "
            f"{row['seconds']:.2f} s  {row['pairs_per_s']:,.0f} pairs/s")


def report(model: str, out: Path, history: list[dict], validation: Part | None) -> None:
    """The best epoch beside popularity on the validation part, and the next command."""
    if validation is not None:
        popularity = validation.measure(popularity_scores(validation.counts), VALIDATE_AT, lists=False)[0]
        best = max(history, key=lambda row: row[SELECT_BY])
        print("\nvalidation")
        print(cli.table(["Model", *COLUMNS], [[f"{model} (epoch {best['epoch']})", *(best[c] for c in COLUMNS)],
                                              ["popularity", *(popularity[c] for c in COLUMNS)]]))
    print(f"\nnext: python evaluate.py --run {out} --k 10 300")
    if validation is not None:
        print(f"      python train.py --refit {out}        to learn from the validation links too")


def main(argv: list[str] | None = None) -> Path:
    """Train, and return the run folder."""
    args = parse(argv)

    # ---- 2 seed, device and processes
    device = cli.choose_device(args.device)
    processes = Processes(device)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)

    # ---- 3 graph and split: the message graph holds training links only, and the test part stays closed
    out = args.out if args.resume else processes.first_does(lambda: start_run(vars(args)))
    playlists, split = runs.load_catalogue(out), runs.load_split(out, parts=("train", "val", "given_val"))
    graph = build_graph(playlists, split.train, args.node_types, args.relation_weights, runs.load_features(out))
    view = view_of(args.model, graph).to(device)
    if processes.first:
        print(census(graph))
    shape = playlists.num_playlists, playlists.num_tracks
    shown, given = shown_tracks(split.train, *shape), shown_tracks(split.given_val, *shape)
    validation = Part(split.train, split.val, split.given_val, *shape)
    negatives = make_negatives(playlists, split, validation.known, args.neg, args.neg_power, args.miner, args.candidates,
                               args.among, args.window, args.guard, args.mix, args.semi_hard, generator, device)
    links = make_links(view, split, playlists.num_tracks, args.layers, args.batch_size, negatives,
                       0 if args.loss == "softmax" else args.num_neg, args.fanout, args.draw, args.edge_dropout,
                       generator, processes)

    # ---- 4 model and inputs
    net = make_model(view, args.model, args.dim, args.layers, heads=args.heads, bases=args.bases,
                     dropout=args.dropout, exponent=args.exponent, owners=args.owners).to(device)

    def embedded() -> ReadOut:
        """Every node's embedding from the whole graph, ready to score."""
        return ReadOut(net.embed(view), shown, args.score, args.recency, args.track_weight)

    def sides(z: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What miners score with: playlists and tracks, without the read-out."""
        return tuple(scaled(z[t].detach(), args.score) for t in ("playlist", "track"))

    # ---- 5 optimiser, and where a resumed run stands
    optimiser = make_optimiser(net, isinstance(links, SampledLinks), args.lr)
    shared = processes.wrap(net)
    state = State(net, optimiser, generator, negatives)
    if args.resume is not None and (out / "last.pt").exists():
        state.restore(runs.load_checkpoint(out / "last.pt", device))

    # ---- 6 the loop
    while state.epoch < args.epochs and state.waited < args.patience:
        started, sums = time.perf_counter(), torch.zeros(2, dtype=torch.float64)
        mining = args.neg == "hard" and state.epoch >= args.warm_up
        every_step = isinstance(links, FullGraphLinks) and args.miner == "best-of"        # every node is at hand then
        if mining and (every_step or (state.epoch - args.warm_up) % args.refresh == 0):
            state.refresh(*sides(net.embed(view)))
        net.train()
        if args.lr_decay:
            optimiser.param_groups[0]["lr"] = args.lr * (1 + math.cos(math.pi * state.epoch / args.epochs)) / 2
        for batch in tqdm(links, f"epoch {state.epoch + 1}", disable=None, leave=False):        # sample
            x, z = shared(batch.nodes, batch.adjs)                                              # forward
            loss = batch_loss(args.loss, args.score, args.temperature, args.weight_decay, x, z, batch, links)
            optimiser.zero_grad()
            (loss * batch.share).backward()                                                     # backward
            norm = gradient_norm(net)
            optimiser.step()                                                                    # step
            sums += torch.stack([loss.detach() * batch.share, norm]).cpu()
            if mining and every_step:
                negatives.refresh(*sides(view.split(z)))
        sums = processes.sum(sums) / processes.world
        if not sums.isfinite().all():
            raise InputError(f"{out}: the loss is not a number after epoch {state.epoch}; try a smaller --lr than "
                             f"{args.lr:g}")
        seconds = time.perf_counter() - started
        row = {"epoch": state.epoch + 1, "loss": float(sums[0]) / len(links), "grad_norm": float(sums[1]) / len(links),
               "false_negatives": links.false_negatives}

        # ---- 7 validate, keep the best
        if split.val.size:
            row |= validation.measure(dot_scores(*score_tables(embedded(), given)), VALIDATE_AT, processes=processes,
                                      lists=False)[0]
        row |= {"seconds": seconds, "pairs_per_s": split.train.size / seconds}
        best = state.log(row)
        if processes.first:
            if best:
                runs.save_checkpoint(out / "best.pt", {"net": net.state_dict(), "epoch": state.epoch})
            runs.save_checkpoint(out / "last.pt", state.checkpoint())
            runs.save_history(out, state.history)
            print(describe(row), flush=True)

    # ---- 8 what came out, and what to type next
    if processes.first:
        runs.save_history(out, state.history)
        report(args.model, out, state.history, validation if split.val.size else None)
    processes.close()
    return out


if __name__ == "__main__":
    cli.run(main)
