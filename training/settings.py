"""What a training run is told: every setting, its range, and what cannot go together.

    Settings(model="hgt", neg="hard")     by hand; training/flags.py makes the same object of `--model hgt --neg hard`

A field is its flag: name, help and range stand together. What its value is where none is given: training/tuned.py.
"""
from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from common.errors import InputError
from gnn import MODELS, own_settings
from mpd.build import NODE_TYPES
from training.fields import (ABOVE_0, COUNT, DATA, FIRST, LEARNING, LIBRARY, MODEL, NATURAL, NEGATIVES, RUN, SCALE, SHARE,
                             Range, as_typed, called, checked, default_of, setting)
from training.folder import load_config
from training.state import SELECT_BY
from training.tuned import TUNED

FULL_GRAPH_EDGES = 2_000_000                    # up to here a step on the whole graph is cheaper than a sampled batch
OLD_VALUES = {("draw", "window"): "shuffled"}               # what run folders of an earlier version call it
CHOSEN, FOLLOWING = "chosen", "follows"                     # where a value comes from, if not from a row of TUNED

# What only some models take, but for the weights that the graph brings along; what only hard negatives take.
OWN = set().union(*map(own_settings, MODELS)) - {"weights"}
HARD_ONLY = ("miner", "candidates", "among", "window", "guard", "mix", "semi_hard", "warm_up", "refresh")


@dataclass(repr=False)
class Settings:
    """Every setting of a training run, checked and complete: what is not given is as `TUNED` has it, and None where it
    means nothing, like the heads of a model without attention.

    Raises InputError for a value out of its range, and for values that cannot go together.
    """
    data: Path | None = setting(
        FIRST, None, "MPD slices (folder, file or .zip), or a folder or .zip with train.txt and test.txt; without it, "
        "synthetic playlists are made under data/", type=Path)
    model: str = setting(FIRST, "lightgcn", "how messages are passed", choices=sorted(MODELS))
    neg: str | None = setting(
        FIRST, None, "negatives drawn at random, or tracks that the model wrongly likes (default: none are drawn, "
        "softmax takes the whole catalogue)", choices=["random", "hard"])
    loss: str | None = setting(
        FIRST, None, "bce judges each link alone, bpr a link against a negative, softmax a link against the whole "
        "catalogue (default: softmax, or bpr where --neg is given)", choices=["bce", "bpr", "softmax"])
    dim: int | None = setting(FIRST, None, "length of every embedding; longer ones memorise more", COUNT, type=int)
    epochs: int | None = setting(FIRST, None, "passes over the training links, at most", COUNT, type=int)
    split_by: str = setting(
        FIRST, "random", "hide random links, the end of every playlist, or whole playlists",
        choices=["random", "last", "cold"])
    device: str = setting(FIRST, "auto", "where to compute", choices=["auto", "cpu", "cuda"])
    seed: int = setting(
        FIRST, 0, "seeds the start and every draw, and the split where --split-seed is not given", NATURAL, type=int)
    out: Path | None = setting(
        FIRST, None, "run folder (default: runs/<model>-<neg>-<loss>-<time>, or runs/<RUN>-refit-<time>)", type=Path)

    slices: int | None = setting(DATA, None, "read only the first N slices, in numeric order", type=int, metavar="N")
    skip_bad: bool = setting(
        DATA, False, "leave out broken playlists and count them, instead of stopping at the first", action="store_true")
    k_core: int = setting(
        DATA, 1, "keep playlists and tracks with at least K links to one another; higher is denser, easier and smaller",
        NATURAL, type=int, metavar="K")
    node_types: list[str] = setting(
        DATA, list(NODE_TYPES), "which nodes the graph has; leave out artist or album to see what they are worth",
        nargs="+", choices=NODE_TYPES, metavar="TYPE")
    split: list[float] | None = setting(
        DATA, None, "shares of the links; 1 0 0 trains on everything (default: 0.8 0.1 0.1, or 1 0 0 of the training "
        "part when the data bring a test part)", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"))
    features: Path | None = setting(
        DATA, None, "audio features of the tracks, as fetch_audio_features.py stores them, added to every track's "
        "input; without it tracks are known by their links alone", type=Path, metavar="STORE")

    layers: int = setting(MODEL, 2, "how many hops a message travels", COUNT, type=int)
    heads: int | None = setting(MODEL, None, "attention heads of gat and hgt; must divide --dim", COUNT, type=int)
    dropout: float | None = setting(
        MODEL, None, "share of the features zeroed before every layer, the first one too, where the model has weights",
        SHARE, type=float)
    recency: float | None = setting(
        MODEL, None, "how fast earlier tracks fade when a playlist is summed up by its tracks: the k-th from the end "
        "counts k^-RECENCY; 0 is blind to order", NATURAL, type=float)
    track_weight: float | None = setting(
        MODEL, None, "weight of the summed-up tracks beside the playlist's own embedding when scoring; 0 leaves the "
        "embedding alone", NATURAL, type=float)
    relation_weights: list[float] | None = setting(
        MODEL, None, "weights of a track's links to its playlists, artist and album, for lightgcn, gcn, sage and "
        "hetero-sage", ABOVE_0, nargs=3, type=float, metavar=("PLAYLIST", "ARTIST", "ALBUM"))
    bases: int | None = setting(
        LIBRARY, None, "rgcn: relations share this many matrices; 0 gives each its own", NATURAL, type=int)
    owners: bool | None = setting(
        LIBRARY, None, "a track starts from its artist's and album's embeddings besides its own, so that rare tracks "
        "start somewhere", type=bool)
    exponent: float | None = setting(
        LIBRARY, None, "lightgcn: how strongly degrees are divided out; below 0.5 popular tracks speak louder", NATURAL,
        type=float)

    score: str | None = setting(
        LEARNING, None, "cosine gives every node the same length, so that popular tracks cannot win by theirs",
        choices=["dot", "cosine"])
    temperature: float | None = setting(
        LEARNING, None, "scores are divided by it in the loss; a low one dwells on the hardest comparisons", ABOVE_0,
        type=float)
    batch_size: int | None = setting(LEARNING, None, "links a step", COUNT, type=int)
    lr: float | None = setting(LEARNING, None, "Adam's step size", ABOVE_0, type=float)
    lr_decay: bool = setting(
        LEARNING, False, "lower the step size to zero along a cosine over --epochs",
        action=argparse.BooleanOptionalAction)
    weight_decay: float | None = setting(LEARNING, None, "pull on the input embeddings of a batch", NATURAL, type=float)
    patience: int | None = setting(
        LEARNING, None, f"epochs without a better validation {SELECT_BY} before stopping", COUNT, type=int)

    num_neg: int | None = setting(NEGATIVES, None, "negatives a link", COUNT, type=int)
    miner: str | None = setting(
        NEGATIVES, None, "hard: the best scored of some random tracks, or any of the playlist's top tracks",
        choices=["best-of", "window"])
    candidates: int | None = setting(
        NEGATIVES, None, "best-of: how many random tracks; more is harder, and past a hundred mostly unlabelled "
        "positives", COUNT, type=int, metavar="M")
    window: int | None = setting(
        NEGATIVES, None, "window: how deep; the top 100 are mostly unlabelled positives", COUNT, type=int, metavar="N")
    mix: float | None = setting(NEGATIVES, None, "hard: this share stays random", SHARE, type=float, metavar="SHARE")
    warm_up: int | None = setting(
        NEGATIVES, None, "hard: random draws for so many epochs first", NATURAL, type=int, metavar="EPOCHS")
    among: int | None = setting(LIBRARY, None, "best-of: draw from so many of the best scored", COUNT, type=int)
    guard: int | None = setting(
        LIBRARY, None, "hard: pass over so many of the best scored, the likeliest false negatives", NATURAL, type=int)
    semi_hard: float | None = setting(
        LIBRARY, None, "hard: this share comes from the positive's own artist or album, unscored", SHARE, type=float)
    neg_power: float | None = setting(
        LIBRARY, None, "random draws ∝ popularity^neg_power; 0 is uniform, 0.75 meets popular tracks more often",
        Range(least=0, most=2), type=float)
    refresh: int | None = setting(
        LIBRARY, None, "hard: every how many epochs the embeddings that score the candidates are renewed; best-of on "
        "the whole graph does so every step", COUNT, type=int)

    fanout: list[str] | None = setting(
        SCALE, None, "neighbours that a node draws from each relation, a number a hop (20 10), or full: the whole "
        f"graph in every step (default: full up to {FULL_GRAPH_EDGES:,} edges, else 20 10 …)", nargs="+", metavar="K")
    edge_dropout: float | None = setting(
        SCALE, None, "share of links whose messages are left out of a step on the whole graph", SHARE, type=float)
    draw: str = setting(
        LIBRARY, "shuffled", "neighbours from rows shuffled once an epoch, or drawn afresh each time, which is slower",
        choices=["shuffled", "independent"])
    split_seed: int | None = setting(
        RUN, None, "seeds the split alone: runs that differ in --seed and share it can be measured together "
        "(evaluate.py --together) (default: --seed)", NATURAL, type=int)

    # The run that goes on, and the run that is learnt anew (training/flags.py). Where each value comes from: CHOSEN by
    # whoever made the object, FOLLOWING from what was chosen, or the name of a row of `TUNED`.
    resume: Path | None = field(default=None, init=False)
    refit: Path | None = field(default=None, init=False)
    origin: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self):
        self.check_each()
        self.origin |= {f.name: CHOSEN for f in settings_of(self) if getattr(self, f.name) != default_of(f)}
        if self.loss is None:
            self._follow("loss", "softmax" if self.neg in (None, "all") else "bpr")
        if self.neg is None:
            self._follow("neg", "all" if self.loss == "softmax" else "random")
        if self.split_seed is None:
            self._follow("split_seed", self.seed)
        if (self.loss == "softmax") != (self.neg == "all"):
            raise InputError(f"--neg {self.neg} --loss {self.loss}: a softmax compares with the whole catalogue, and it "
                             f"alone does; leave --neg out, or choose --loss bpr")
        idle = self.idle()
        for name in sorted(self.origin.keys() & idle):
            raise InputError(f"{_called(name)}: {idle[name]}")
        self._complete(idle)
        self._check_together()

    def _follow(self, name: str, value) -> None:
        setattr(self, name, value)
        self.origin[name] = FOLLOWING

    def but(self, **changes) -> Settings:
        """The same with some settings changed; what was not chosen is looked up anew."""
        chosen = {name: getattr(self, name) for name, origin in self.origin.items() if origin == CHOSEN}
        return Settings(**chosen | changes)

    def __repr__(self) -> str:
        chosen = [f"{f.name}={getattr(self, f.name)!r}" for f in settings_of(self) if self.origin.get(f.name) == CHOSEN]
        return f"Settings({', '.join(chosen)})"

    @property
    def held_out(self) -> bool:
        """Whether anything is kept from training."""
        return self.split is None or self.split[0] < 1

    @property
    def sampled(self) -> bool:
        """Whether a fan-out was asked for; without one the size of the graph decides (training.batches.make_links)."""
        return self.fanout is not None and self.fanout != ["full"]

    def idle(self) -> dict[str, str]:
        """{setting that means nothing in this run: why, and what to do about it}."""
        idle = {name: f"{self.model} has no such setting; leave it out" for name in OWN - own_settings(self.model)}
        if not MODELS[self.model].weighted:
            idle["relation_weights"] = f"{self.model} weighs relations by what it learns; leave it out, or choose " \
                                       f"another model"
        useless = HARD_ONLY if self.neg != "hard" else ()
        useless += ("num_neg", "neg_power") if self.loss == "softmax" else ()
        drawn = "a softmax, which draws no negatives" if self.loss == "softmax" else f"{self.neg} negatives"
        return idle | {name: f"means nothing with {drawn}; give --neg too, or leave it out" for name in useless}

    def _complete(self, idle: dict[str, str]) -> None:
        """Fill in what is not given, from `TUNED`."""
        given = set(self.origin)
        for row in filter(lambda row: row.holds(self), TUNED):
            for name, value in row.then.items():
                if name not in idle and name not in given:
                    setattr(self, name, list(value) if isinstance(value, list) else value)
                    self.origin[name] = row.name(self)

    def check_each(self) -> None:
        """Raises InputError for a value of the wrong type, out of its choices or out of its range."""
        for f in settings_of(self):
            setattr(self, f.name, checked(f, getattr(self, f.name)))

    def _check_together(self) -> None:
        """Raises InputError for settings that cannot go together."""
        if "heads" in own_settings(self.model) and self.dim % self.heads:
            raise InputError(f"--heads {self.heads} does not divide --dim {self.dim}")
        if self.edge_dropout and (self.sampled or "heads" in own_settings(self.model)):
            if self.origin["edge_dropout"] == CHOSEN:
                raise InputError(f"--edge-dropout: for messages over the whole graph without attention; {self.model} "
                                 f"{'on sampled blocks ' if self.sampled else ''}has none, leave it out")
            self.edge_dropout, self.origin["edge_dropout"] = 0.0, "always"
        if self.neg == "hard" and self.mix + self.semi_hard > 1:
            raise InputError(f"--mix {self.mix:g} and semi_hard {self.semi_hard:g}: shares of the same draws, 1 at "
                             f"most")
        if self.miner == "best-of" and self.guard + self.among > self.candidates:
            raise InputError(f"guard {self.guard} and among {self.among} leave none of {self.candidates} "
                             f"--candidates")
        if self.miner == "window" and self.guard >= self.window:
            raise InputError(f"guard {self.guard} leaves nothing of --window {self.window}")
        if self.sampled and (len(self.fanout) != self.layers or
                             not all(k == "full" or k.isdecimal() and int(k) > 0 for k in self.fanout)):
            raise InputError(f"--fanout {' '.join(self.fanout)}: one positive number (or full) for each of "
                             f"the {self.layers} --layers, or full alone")

    # ---- to and from a run folder ------------------------------------------------------------------------------------

    def stored(self) -> dict:
        """{name: value} for a run's config.json."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "origin"}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

    @classmethod
    def of_run(cls, folder: str | Path) -> Settings:
        """The settings that a run folder holds; what an earlier version did not store is as `TUNED` has it.

        Raises InputError if `folder` is no run, or its settings are damaged."""
        stored = load_config(Path(folder))["settings"]
        stored = {name: OLD_VALUES.get((name, str(value)), value) for name, value in stored.items()}
        try:
            idle = cls(**{name: stored[name] for name in ("model", "neg", "loss") if name in stored}).idle()
            known = {f.name for f in settings_of(cls)} - idle.keys()
            kept = {name: value for name, value in stored.items() if name in known and value is not None}
            return cls(**kept)
        except (InputError, TypeError, ValueError, AttributeError, KeyError) as error:
            raise InputError(f"{folder}/config.json: its settings are damaged ({str(error)[:120]}); restore it from a "
                             f"copy, or train again") from error

    def lines(self) -> Iterator[str]:
        """What a run learns with, as lines to print: a paragraph for every place that settings come from."""
        by = {origin: [] for origin in (CHOSEN, FOLLOWING, "always", *(row.name(self) for row in TUNED))}
        for f in fields(self):
            value = getattr(self, f.name)
            learnt_with = f.metadata.get("group") not in (None, DATA, RUN) and f.name not in ("data", "out", "device")
            if learnt_with and value is not None and value is not False:
                text = "" if value is True else f" {as_typed(value)}"
                by.setdefault(self.origin.get(f.name, "always"), []).append(f.name.replace("_", "-") + text)
        for origin, values in by.items():
            if values:
                text = f"{origin}: " + ", ".join(value.replace(" ", "\u00a0") for value in values)     # kept together
                for line in textwrap.wrap(text, 105, subsequent_indent="    ", break_on_hyphens=False):
                    yield line.replace("\u00a0", " ")


def settings_of(of: Settings | type[Settings]) -> list[dataclasses.Field]:
    """The fields that are settings."""
    return [f for f in fields(of) if f.init]


def _called(name: str) -> str:
    return next(called(f) for f in settings_of(Settings) if f.name == name)
