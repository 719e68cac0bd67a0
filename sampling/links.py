"""Mini-batches of links: (playlist, positive track, negative tracks) and the part of the graph they need."""
from __future__ import annotations

from typing import Iterator, NamedTuple

import torch
from torch import Tensor

from gnn.graph import HeteroGraph


class Batch(NamedTuple):
    """What one step learns from. All ids are rows of the model's output, so z[links.track_type][batch.positive].

    nodes     {type: (n_t,) ids} whose inputs are needed, None for all
    adjs      one dict {relation: Adj} a layer
    playlist  (B,);  positive (B,);  negative (B, M), None where the loss compares with the whole catalogue
    """
    nodes: dict[str, Tensor] | None
    adjs: list[dict]
    playlist: Tensor
    positive: Tensor
    negative: Tensor | None


class FullGraphLinks:
    """Every training pair once an epoch, `batch_size` at a time, on the whole graph.

    graph: the view the model sees (merged or not); playlist, track: (E,) training pairs as typed ids; negatives: has
    draw(playlist, count), or None; whole_playlists: a batch holds all pairs of its playlists, for losses whose cost
    is per playlist. `generator` shuffles.
    """

    def __init__(self, graph: HeteroGraph, playlist: Tensor, track: Tensor, num_tracks: int, layers: int,
                 batch_size: int, negatives, num_neg: int, generator: torch.Generator, whole_playlists: bool = False):
        self.graph, self.playlist, self.track = graph, playlist.long(), track.long()
        self.adjs = [graph.adjs] * layers
        self.batch_size, self.negatives, self.num_neg = batch_size, negatives, num_neg
        self.generator, self.whole_playlists = generator, whole_playlists
        self.playlist_type, _ = graph.locate("playlist", self.playlist[:0])
        self.track_type, self.catalogue = graph.locate("track", torch.arange(num_tracks, device=graph.device))

    def __len__(self) -> int:
        return -(-len(self.playlist) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self._order()
        for chosen in order.split(self.batch_size):
            playlist, track = self.playlist[chosen], self.track[chosen]
            negative = None if self.negatives is None else self.negatives.draw(playlist, self.num_neg)
            yield Batch(None, self.adjs, self.graph.locate("playlist", playlist)[1],
                        self.graph.locate("track", track)[1],
                        None if negative is None else self.graph.locate("track", negative)[1])

    def _order(self) -> Tensor:
        if not self.whole_playlists:
            return torch.randperm(len(self.playlist), generator=self.generator).to(self.playlist.device)
        shuffled = torch.randperm(int(self.playlist.max()) + 1, generator=self.generator).to(self.playlist.device)
        return torch.argsort(shuffled[self.playlist], stable=True)
