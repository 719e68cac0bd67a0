"""Mini-batches of links: (playlist, positive track, negative tracks), and the part of the graph they need.

    Links                    which pairs a step learns from, and against which negatives
      └─ WholeGraph          messages over the whole graph, or
         SampledGraph        over sampled blocks (sampling/neighbors.py)   → Batch
"""
from __future__ import annotations

from typing import Iterator, NamedTuple

import torch
from torch import Tensor

from gnn.graph import HeteroGraph
from sampling.negatives import is_known, pair_keys
from sampling.neighbors import NeighborSampler
from sampling.subgraph import drop_edges

CATALOGUE_SAMPLE = 1024         # tracks that stand for the catalogue in a softmax on sampled blocks


class Batch(NamedTuple):
    """What one step learns from. All ids are rows of the model's output, so z[track_type][batch.positive].

    nodes      {type: (n_t,) ids} whose inputs are needed, None for all
    adjs       one dict {relation: Adj} a layer
    playlist   (B,);  positive (B,);  negative (B, M), None where the loss compares with `catalogue`
    catalogue  (S,) the tracks that a softmax compares with, each standing for `weight` tracks of the real catalogue
    share      weight of this process's mean loss: its number of pairs over the mean of all processes, 1 for one alone
    """
    nodes: dict[str, Tensor] | None
    adjs: list[dict]
    playlist: Tensor
    positive: Tensor
    negative: Tensor | None
    catalogue: Tensor | None
    weight: float = 1.0
    share: float = 1.0


class WholeGraph:
    """Messages pass over the whole graph in every step; the batch's own links are among them, as in LightGCN.

    graph: the view the model sees (merged or not); num_tracks T; edge_dropout: share of the links that carry no
    messages in a step, drawn by `generator`.
    """

    sampled = False

    def __init__(self, graph: HeteroGraph, num_tracks: int, layers: int, edge_dropout: float = 0.0,
                 generator: torch.Generator | None = None):
        self.graph, self.num_tracks, self.layers = graph, num_tracks, layers
        self.edge_dropout, self.generator = edge_dropout, generator

    def shuffle(self, generator: torch.Generator, rank: int) -> None:
        """Nothing is drawn an epoch at a time."""

    def batch(self, playlist: Tensor, track: Tensor, negative: Tensor | None) -> Batch:
        """playlist (B,), track (B,), negative (B, M) or None, as typed ids → Batch."""
        def rows(tracks):
            return self.graph.locate("track", tracks)[1]
        catalogue = None
        if negative is None:
            catalogue = rows(torch.arange(self.num_tracks, device=self.graph.device))
        adjs = self.graph.adjs
        if self.edge_dropout:
            adjs = drop_edges(self.graph, self.edge_dropout, self.generator)
        return Batch(None, [adjs] * self.layers, self.graph.locate("playlist", playlist)[1], rows(track),
                     None if negative is None else rows(negative), catalogue)


class SampledGraph:
    """Messages pass over sampled blocks only, without the batch's own links in either direction.

    graph: the view that `sampler` samples; num_tracks T; `generator` draws the `stand_ins` for the catalogue.

    Blocks are drawn where they are used, not ahead: drawing is a tenth of a step or less (benchmarks/sampler.py), so
    that a prefetching process could win no more than that, and would hold a second copy of the graph.
    """

    sampled = True

    def __init__(self, graph: HeteroGraph, num_tracks: int, sampler: NeighborSampler, generator: torch.Generator,
                 stand_ins: int = CATALOGUE_SAMPLE):
        self.graph, self.num_tracks, self.sampler, self.generator = graph, num_tracks, sampler, generator
        self.stand_ins = min(stand_ins, num_tracks)

    def shuffle(self, generator: torch.Generator, rank: int) -> None:
        """Neighbours are drawn from a generator of their own, seeded every epoch: processes sample different blocks
        and yet go on agreeing about the order of the links."""
        seed = int(torch.randint(2 ** 60, (), generator=generator))
        self.sampler.generator.manual_seed(seed + rank)
        self.sampler.shuffle()

    def batch(self, playlist: Tensor, track: Tensor, negative: Tensor | None) -> Batch:
        """playlist (B,), track (B,), negative (B, M) or None, as typed ids → Batch."""
        if negative is None:
            others = torch.randperm(self.num_tracks, generator=self.generator)[:self.stand_ins].to(track.device)
        else:
            others = negative.flatten()
        P, p = self.graph.locate("playlist", playlist)
        T, t = self.graph.locate("track", torch.cat([track, others]))
        seeds = {P: torch.cat([p, t])} if P == T else {P: p, T: t}
        nodes, adjs, local = self.sampler.sample(seeds, self._targets((P, p), (T, t[:len(track)])))
        playlist, track, others = torch.cat([local[t] for t in seeds]).split([len(p), len(track), len(others)])
        if negative is None:
            return Batch(nodes, adjs, playlist, track, None, others, self.num_tracks / self.stand_ins)
        return Batch(nodes, adjs, playlist, track, others.view(negative.shape), None)

    def _targets(self, playlists: tuple[str, Tensor], tracks: tuple[str, Tensor]) -> dict:
        """{relation: (dst (n,), src (n,))}: the batch's links as edges of every relation that holds them, in both
        directions. playlists, tracks: their ends, as (type, ids (B,))."""
        (P, p), (T, t) = playlists, tracks
        targets = {}
        for src, name, dst in self.graph.adjs:
            pairs = [(p, t)] * ((src, dst) == (T, P)) + [(t, p)] * ((src, dst) == (P, T))
            if pairs:
                targets[src, name, dst] = tuple(torch.cat(ends) for ends in zip(*pairs))
        return targets


class Links:
    """Every training pair once an epoch, `batch_size` at a time.

    pairs       (playlist (E,), track (E,)), the training pairs as typed ids
    messages    WholeGraph or SampledGraph
    negatives   has draw(playlist, positive, count)
    num_neg     M, negatives a pair; 0 to compare with the catalogue instead
    generator   shuffles the pairs
    share       (rank, world): of a batch's shuffled pairs this process takes every world-th (distributed training)
    """

    def __init__(self, pairs: tuple[Tensor, Tensor], messages: WholeGraph | SampledGraph, batch_size: int, negatives,
                 num_neg: int, generator: torch.Generator, share: tuple[int, int] = (0, 1)):
        self.playlist, self.track = (ids.long() for ids in pairs)
        self.messages, self.batch_size, self.negatives, self.num_neg = messages, batch_size, negatives, num_neg
        self.generator, (self.rank, self.world) = generator, share
        self.watched, self.drawn, self.met = None, 0, 0

    def __len__(self) -> int:
        return -(-len(self.playlist) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of an epoch. All processes draw the same batches and negatives and keep their own share of each, so
        that together they take the steps that one process would."""
        self.messages.shuffle(self.generator, self.rank)
        self.drawn = self.met = 0
        for chosen in self._order().split(self.batch_size):
            playlist, track = self.playlist[chosen], self.track[chosen]
            negative = self.negatives.draw(playlist, track, self.num_neg) if self.num_neg else None
            if negative is not None and self.watched is not None:
                self.drawn += negative.numel()
                self.met += int(is_known(self.watched, playlist, negative, self.messages.num_tracks).sum())
            mine = slice(self.rank, None, self.world)
            share = len(chosen[mine]) * self.world / len(chosen)
            if not share:                       # fewer pairs than processes: this one takes part with a weight of 0
                mine = slice(0, 1)
            batch = self.messages.batch(playlist[mine], track[mine], None if negative is None else negative[mine])
            yield batch._replace(share=share)

    def watch(self, playlist: Tensor, track: Tensor) -> None:
        """From here on, count the negatives that are among these pairs: links held out for validation, so that the
        model is told the opposite of what it is asked for."""
        self.watched = pair_keys(playlist, track, self.messages.num_tracks)

    @property
    def false_negatives(self) -> float:
        """Share of the epoch's negatives that their playlist does hold, as far as the watched pairs tell."""
        return self.met / max(self.drawn, 1)

    def _order(self) -> Tensor:
        """The pairs (E,) in random order. To compare with the catalogue, the playlists in random order, each with all
        its pairs: a softmax costs what its playlists cost, however many pairs they share."""
        device = self.playlist.device
        if self.num_neg:
            return torch.randperm(len(self.playlist), generator=self.generator).to(device)
        shuffled = torch.randperm(int(self.playlist.max()) + 1, generator=self.generator).to(device)
        return torch.argsort(shuffled[self.playlist], stable=True)
