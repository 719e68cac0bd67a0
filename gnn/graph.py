"""The graph of playlists, the view that a model has of it, and what a model is asked to do.

Two playlists, three tracks and an artist. Playlist 0 holds tracks 0 and 1, playlist 1 holds track 2, and the artist
made tracks 0 and 1:

    HeteroGraph(
        num_nodes={"playlist": 2, "track": 3, "artist": 1},
        adjs={("track", "in", "playlist"): A,           A   (2, 3)  = [ 1 1 · ]      a row a playlist, a column a track
              ("playlist", "contains", "track"): A.T,   A.T (3, 2)    [ · · 1 ]
              ("artist", "performs", "track"): B,       B   (3, 1)  = [ 1 1 · ]ᵀ     a row a track, a column an artist
              ("track", "by", "artist"): B.T})          B.T (1, 3)

A relation is (source type, name, destination type), its adjacency is (N_dst, N_src), and its messages are
`spmm(adjs[relation], x[source type])`. A way and its reverse are two relations; the adjacency of one is the transpose
of the other, and shares its structure.

Typed ids and merged ids. Ids count from 0 within a type. For models that know one type only, `merged()` shows the same
graph with one type, "node", and one relation: ids count through all types in order, and `locate` and `split` translate.

    typed    playlist 0 1    track 0 1 2    artist 0                          0 1   2 3 4   5
    merged            0 1          2 3 4           5           playlists  0   · ·   1 1 ·   ·
                                                                          1   · ·   · · 1   ·
    its adjacency, (6, 6), with w the weight of the               tracks  2   1 ·   · · ·   w
    artists' relations, 1 by default; every adjacency                     3   1 ·   · · ·   w
    above is a block of it:                                               4   · 1   · · ·   ·
                                                                 artists  5   · ·   w w ·   ·

A model is a module with

    merged                                              True if it wants the merged view
    weighted                                            True if the weights of the relations count in it
    __init__(num_nodes, relations, dim, layers, **own)  the view's counts and relations, D, L, and settings of its own
    forward(x, adjs) → z                                x, z {type: (N_t, D)};  adjs: L dicts {relation: Adj}

x is layer 0 (gnn/inputs.py), z the embeddings, and layer l passes its messages over adjs[l]. In a merged view every
dict has one entry: `((node, h),) = x.items()` and `(A,) = adjs[l].values()` take it out.

Destination rows are the first rows. Row i of an adjacency is node i of its destination type, and so is row i of x[dst].
A layer's output for a type is as long as the adjacencies into that type are, N_dst, and what these nodes came with is
`first(x[dst], N_dst)`. On the full graph adjs is [graph.adjs] * L: N_dst is N_t in every layer, and `first` takes all.
On a sampled batch (sampling/neighbors.py) the nodes whose embeddings are wanted come first, then their neighbours, then
the neighbours of those; each layer has fewer destinations than the one before, until the wanted ones alone are left. A
model that keeps to `first` need not know the difference. A type that no relation of a layer leads to keeps its rows.
"""
from __future__ import annotations

import itertools

import torch
from torch import Tensor

from gnn.sparse import Adj

Relation = tuple[str, str, str]                     # (source type, name, destination type)
NODE, EDGE = "node", ("node", "to", "node")         # the only type and the only relation of a merged graph


class HeteroGraph:
    """Node counts, adjacencies and what rides on them; see the example at the top of this file.

    num_nodes   {type: N_t}
    adjs        {(src, name, dst): Adj of shape (N_dst, N_src)}; a reverse relation is an entry of its own
    weights     {(src, name, dst): float}, default 1: what the relation's edges count in the merged view, and its share
                in hetero-SAGE; models that learn how much to hear from a relation do without
    features    {type: (N_t, F_t) float}, optional node features
    owners      {(src, name, dst): Adj}, those of the relations whose sources own their destinations: a track's artist
                and album. Layer 0 may add them up (gnn/inputs.py). Optional

    Raises ValueError if an adjacency's shape is not (N_dst, N_src).
    """

    def __init__(self, num_nodes: dict[str, int], adjs: dict[Relation, Adj],
                 weights: dict[Relation, float] | None = None,
                 features: dict[str, Tensor] | None = None, owners: dict[Relation, Adj] | None = None):
        for (src, name, dst), A in adjs.items():
            if A.shape != (num_nodes[dst], num_nodes[src]):
                raise ValueError(f"relation {src}-{name}-{dst}: adjacency is {A.shape[0]} × {A.shape[1]}, "
                                 f"must be (N_{dst}, N_{src}) = {num_nodes[dst]} × {num_nodes[src]}")
        self.num_nodes, self.adjs = dict(num_nodes), dict(adjs)
        self.weights = {key: 1.0 for key in adjs} | (weights or {})
        self.features, self.owners = features or {}, owners or {}
        self._parts: dict[str, int] | None = None       # in a merged graph, {type: N_t} of the types it is made of

    @property
    def relations(self) -> list[Relation]:
        return list(self.adjs)

    @property
    def device(self) -> torch.device:
        return next(iter(self.adjs.values())).device

    def links(self, node_type: str) -> Tensor:
        """How many edges come into each node (N_t,), those of its owners left out: a track's playlists."""
        count = torch.zeros(self.num_nodes[node_type], dtype=torch.int64, device=self.device)
        for sign, adjs in ((1, self.adjs), (-1, self.owners)):
            for (_, _, dst), A in adjs.items():
                if dst == node_type:
                    count += sign * A.ptr.diff()
        return count

    def merged(self) -> HeteroGraph:
        """The one-type view: every edge of every relation in one (N, N) adjacency, valued by its relation's weight."""
        starts, total = _starts(self.num_nodes), sum(self.num_nodes.values())
        def joined(adjs: dict[Relation, Adj]) -> dict[Relation, Adj]:
            dst = torch.cat([A.row.long() + starts[d] for (_, _, d), A in adjs.items()])
            src = torch.cat([A.col.long() + starts[s] for (s, _, _), A in adjs.items()])
            value = torch.cat([torch.full((A.num_edges,), self.weights[key]) for key, A in adjs.items()])
            return {EDGE: Adj.from_edges(dst, src, (total, total), value)}
        owners = {r: A.with_value(None) for r, A in (joined(self.owners) if self.owners else {}).items()}
        features = _stacked(self.features, starts, total)
        graph = HeteroGraph({NODE: total}, joined(self.adjs), features=features, owners=owners)
        graph._parts = self.num_nodes
        return graph

    def locate(self, node_type: str, ids: Tensor) -> tuple[str, Tensor]:
        """Typed ids → (the type that holds them in this view, their ids there)."""
        if self._parts is None:
            return node_type, ids
        return NODE, ids + _starts(self._parts)[node_type]

    def type_of(self, node_type: str) -> str:
        """What this view calls nodes of a type."""
        return node_type if self._parts is None else NODE

    def split(self, z: dict[str, Tensor]) -> dict[str, Tensor]:
        """Undo `merged`: {NODE: (N, D)} → {type: (N_t, D)}. On a graph that is not merged, z itself."""
        if self._parts is None:
            return z
        return dict(zip(self._parts, z[NODE].split(list(self._parts.values()))))

    def to(self, device) -> HeteroGraph:
        """The graph on a device; reverse relations go on sharing their structure."""
        moved: dict[Relation, Adj] = {}
        for key, A in self.adjs.items():
            twin = next((k for k, B in self.adjs.items() if k in moved and B is A.T), None)
            moved[key] = A.to(device) if twin is None else moved[twin].T
        graph = HeteroGraph(self.num_nodes, moved, self.weights,
                            {t: x.to(device) for t, x in self.features.items()},
                            {r: A.to(device) for r, A in self.owners.items()})
        graph._parts = self._parts
        return graph

    def __repr__(self) -> str:
        nodes = ", ".join(f"{count:,} {t}s" for t, count in self.num_nodes.items())
        return f"HeteroGraph({nodes}; {sum(A.num_edges for A in self.adjs.values()):,} edges)"


def _starts(counts: dict[str, int]) -> dict[str, int]:
    """Where each type's ids begin when they count through all types in order."""
    ends = itertools.accumulate(counts.values(), initial=0)
    return dict(zip(counts, ends))


def _stacked(features: dict[str, Tensor], starts: dict[str, int], total: int) -> dict[str, Tensor]:
    """Features of several types as one (N, ΣF_t) block-diagonal table: a node has zeros in the other types' columns."""
    if not features:
        return {}
    out, column = torch.zeros(total, sum(x.shape[1] for x in features.values())), 0
    for node_type, x in features.items():
        out[starts[node_type]:starts[node_type] + len(x), column:column + x.shape[1]] = x
        column += x.shape[1]
    return {NODE: out}
