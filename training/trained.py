"""A trained run, opened once: what measuring it, recommending with it and drawing it start from."""
from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from gnn import make_model, view_of
from gnn.readout import JointReadOut, ReadOut, scaled
from gnn.sparse import Adj
from mpd.build import build_graph, shown_tracks
from mpd.split import Pairs
from training.folder import PARTS, load_catalogue, load_checkpoint, load_features, load_split, newest
from training.settings import Settings


class Trained:
    """A run's settings, catalogue, graph and network.

    folder      where it lies (default: the newest under runs/);  name  what tables call it
    settings    training.settings.Settings;  label  its model, negatives and loss, as tables have them
    playlists   the catalogue: URIs, names, artists and albums (mpd.playlists.Playlists, without entries)
    train       Pairs, the links it learnt from; the graph holds no others
    graph       HeteroGraph, one type for playlists, tracks, artists, albums;  view  the same as the model sees it
    net         its best parameters; as it started, before the first step, where `fresh`

    Raises InputError if the folder is no run, or a file of it is missing or damaged.
    """

    def __init__(self, folder: str | Path | None = None, device: str | torch.device = "cpu", fresh: bool = False):
        self.folder = Path(folder) if folder is not None else newest()
        self.name = str(self.folder)
        self.settings = Settings.of_run(self.folder)
        self.label = {"model": self.settings.model, "negatives": self.settings.neg, "loss": self.settings.loss}
        self.playlists = load_catalogue(self.folder)
        self.train = load_split(self.folder, ("train",)).train
        self.graph = build_graph(self.playlists, self.train, self.settings.node_types,
                                 self.settings.relation_weights, load_features(self.folder))
        self.view = view_of(self.settings.model, self.graph).to(device)
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            self.net = make_model(self.view, **vars(self.settings)).to(device)
        if not fresh:
            self._load(self.folder / "best.pt")

    def _load(self, path: Path) -> None:
        try:
            self.net.load_state_dict(load_checkpoint(path, self.view.device)["net"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise InputError(f"{path}: not of this run ({str(error).splitlines()[0][:80]}); restore it from a copy, or "
                             f"train again") from error

    def held_out(self, *parts: str) -> tuple[Pairs, ...]:
        """Parts of the split by name ("val", "test", "given_val", "given_test"), read from the file now."""
        split = load_split(self.folder, parts)
        return tuple(getattr(split, part) for part in parts)

    def places(self, pairs: Pairs) -> Adj:
        """Pairs as an adjacency (P, T), valued by the tracks' places in (0, 1]."""
        return shown_tracks(pairs, self.playlists.num_playlists, self.playlists.num_tracks)

    @cached_property
    def embeddings(self) -> dict[str, Tensor]:
        """{type: (N_t, D)} on the whole graph."""
        return self.net.embed(self.view)

    @cached_property
    def readout(self) -> ReadOut:
        """The scores that the run's settings describe."""
        return self.read_out(self.settings.recency)

    def read_out(self, recency: float, device: str | torch.device | None = None) -> ReadOut:
        """The same with another weight of order, or elsewhere than on the network's device."""
        z = {t: z.to(device or z.device) for t, z in self.embeddings.items()}
        return ReadOut(z, self.places(self.train), self.settings.score, recency, self.settings.track_weight)


class Together(Trained):
    """Several runs on one split, measured as one: every run's vectors side by side, so that a score is the sum of the
    runs' scores. Runs that differ in their seed alone err on different tracks.

    It has no network of its own to explain or to draw.
    Raises InputError for fewer than two runs, or if they do not share their data and every part of their split.
    """

    def __init__(self, members: list[Trained]):
        if len(members) < 2:
            raise InputError("--together: takes two runs or more; name them with --run")
        first, self.members = members[0], members
        split = first.held_out(*PARTS)
        for other in members[1:]:
            parts = zip(split, other.held_out(*PARTS))
            if first.playlists.track_uris != other.playlists.track_uris or not all(
                    np.array_equal(*columns) for one, another in parts for columns in zip(one, another)):
                raise InputError(f"{first.folder} and {other.folder} do not share their split; train them with the "
                                 f"same --data, --split, --split-by and --split-seed, and refit all or none")
        self.folder, self.name, self.playlists, self.train = first.folder, "together", first.playlists, first.train
        self.settings, each = first.settings, [run.label for run in members]
        self.label = {what: " + ".join(dict.fromkeys(label[what] for label in each)) for what in first.label}
        if len({label["model"] for label in each}) == 1:
            self.label["model"] += f" × {len(members)}"

    @cached_property
    def embeddings(self) -> dict[str, Tensor]:
        """{type: (N_t, Σ D)}, each run's as its score takes them, of the types that all of the runs have."""
        each = [{t: scaled(z, run.settings.score) for t, z in run.embeddings.items()} for run in self.members]
        return {t: torch.cat([z[t] for z in each], dim=1) for t in each[0] if all(t in z for z in each)}

    @cached_property
    def readout(self) -> JointReadOut:
        return JointReadOut([run.readout for run in self.members])
