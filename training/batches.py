"""From settings to what a step is made of: negatives, and links on the whole graph or on sampled blocks."""
from __future__ import annotations

import torch
from torch import Tensor

from common.errors import InputError
from gnn.graph import HeteroGraph
from mpd.playlists import Playlists
from mpd.split import Pairs, Split
from ranking.protocol import dot_scores
from ranking.topk import Known, rank
from sampling.links import Links, SampledGraph, WholeGraph
from sampling.negatives import BestOf, Mixed, Negatives, SemiHard, TopWindow, pair_keys, popularity_weights
from sampling.neighbors import FULL, NeighborSampler
from training.processes import Processes
from training.settings import FULL_GRAPH_EDGES, Settings


def make_negatives(settings: Settings, playlists: Playlists, train: Pairs, known: Known, generator: torch.Generator,
                   device: torch.device):
    """What draws the negatives that the settings describe (sampling/negatives.py); None for a softmax, which draws
    none.

    train: links that are no negatives; known: what a miner's rankings leave out. Raises InputError if a playlist holds
    every track, or for semi-hard negatives of tracks without artists and albums."""
    if settings.loss == "softmax":
        return None
    playlist, track = located(train, device)
    weights, shape = None, (playlists.num_playlists, playlists.num_tracks)
    if settings.neg_power:
        weights = popularity_weights(track, playlists.num_tracks, settings.neg_power, playlists.num_playlists)
    random = Negatives(playlist, track, *shape, generator, weights)
    if settings.neg != "hard":
        return random

    def ranked(playlist_vectors: Tensor, track_vectors: Tensor, depth: int) -> Tensor:
        everyone = torch.arange(playlists.num_playlists)
        return rank(dot_scores(playlist_vectors, track_vectors), everyone, known, depth)[1].to(device)
    if settings.miner == "window":
        hard = TopWindow(random, ranked, settings.window, settings.guard)
    else:
        hard = BestOf(random, settings.candidates, settings.among, settings.guard)
    others = [(random, settings.mix)] if settings.mix else []
    if settings.semi_hard:
        groups = playlists.track_artist, playlists.track_album
        owners = [torch.from_numpy(ids).to(device) for ids in groups if ids.max() >= 0]
        if not owners:
            raise InputError("semi_hard: these tracks have neither artists nor albums; leave it out")
        keys = pair_keys(playlist, track, playlists.num_tracks)
        others = [(SemiHard(random, group, keys), settings.semi_hard / len(owners)) for group in owners] + others
    return Mixed([(hard, 1 - settings.mix - settings.semi_hard), *others], generator) if others else hard


def make_links(settings: Settings, view: HeteroGraph, split: Split, num_tracks: int, negatives,
               generator: torch.Generator, processes: Processes) -> Links:
    """Batches on the whole graph or on sampled blocks, as the fan-out says, or else the graph's size.

    negatives: from `make_negatives`, or None; those among the validation links are counted."""
    edges, fanout = sum(A.num_edges for A in view.adjs.values()), settings.fanout
    if fanout is None:
        small = edges <= FULL_GRAPH_EDGES
        fanout = ["full"] if small else [str(max(20 >> hop, 2)) for hop in range(settings.layers)]
    if fanout == ["full"]:
        where = "on the whole graph"
        messages = WholeGraph(view, num_tracks, settings.layers, settings.edge_dropout, generator)
    else:
        where = f"on sampled blocks, fan-out {' '.join(map(str, fanout))}"
        neighbours = [FULL if k == "full" else int(k) for k in fanout]
        sampler = NeighborSampler(view, neighbours, torch.Generator(), settings.draw)
        messages = SampledGraph(view, num_tracks, sampler, generator)
    if processes.first:
        print(f"messages   {where} ({edges:,} directed edges)")
    links = Links(located(split.train, view.device), messages, settings.batch_size, negatives, settings.num_neg or 0,
                  generator, (processes.rank, processes.world))
    if split.val.size and negatives is not None:
        links.watch(*located(split.val, view.device))
    return links


def located(pairs: Pairs, device: torch.device) -> tuple[Tensor, Tensor]:
    """(playlist, track) ids (n,) int64 of pairs, on a device."""
    return tuple(torch.from_numpy(ids).long().to(device) for ids in (pairs.playlist, pairs.track))
