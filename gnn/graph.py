"""The heterogeneous graph: one adjacency a relation, keyed by (source type, name, destination type).

A playlist graph of two playlists and three tracks, one artist on tracks 0 and 1:

    HeteroGraph(
        num_nodes={"playlist": 2, "track": 3, "artist": 1},
        adjs={("track", "in", "playlist"): Adj (2, 3), ("playlist", "contains", "track"): its transpose (3, 2),
              ("artist", "performs", "track"): Adj (3, 1), ("track", "by", "artist"): its transpose (1, 3)})

Ids count from 0 within a type ("typed ids"). `merged()` is the same graph seen with one node type, for models that
know only one: its ids count through all types in order ("merged ids"), and `locate` translates.
"""
from __future__ import annotations

import torch
from torch import Tensor

from gnn.sparse import Adj

Relation = tuple[str, str, str]                     # (source type, name, destination type)
NODE, EDGE = "node", ("node", "to", "node")         # the only type and the only relation of a merged graph


class HeteroGraph:
    """Node counts, adjacencies and what rides on them.

    num_nodes   {type: N_t}
    adjs        {(src, name, dst): Adj of shape (N_dst, N_src)}; a reverse relation is an entry of its own
    weights     {(src, name, dst): float}, the relation's weight in the merged graph (default 1)
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
        self._starts: dict[str, int] | None = None                # where each type begins, in a merged graph

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
        starts, total = {}, 0
        for node_type, count in self.num_nodes.items():
            starts[node_type], total = total, total + count
        def joined(adjs: dict[Relation, Adj]) -> dict[Relation, Adj]:
            dst = torch.cat([A.row.long() + starts[d] for (_, _, d), A in adjs.items()])
            src = torch.cat([A.col.long() + starts[s] for (s, _, _), A in adjs.items()])
            value = torch.cat([torch.full((A.num_edges,), self.weights[key]) for key, A in adjs.items()])
            return {EDGE: Adj.from_edges(dst, src, (total, total), value)}
        owners = {r: A.with_value(None) for r, A in (joined(self.owners) if self.owners else {}).items()}
        features = _stacked(self.features, starts, total)
        graph = HeteroGraph({NODE: total}, joined(self.adjs), features=features, owners=owners)
        graph._starts, graph._counts = starts, self.num_nodes
        return graph

    def locate(self, node_type: str, ids: Tensor) -> tuple[str, Tensor]:
        """Typed ids → (the type that holds them in this view, their ids there)."""
        if self._starts is None:
            return node_type, ids
        return NODE, ids + self._starts[node_type]

    def type_of(self, node_type: str) -> str:
        """What this view calls nodes of a type."""
        return node_type if self._starts is None else NODE

    def split(self, z: dict[str, Tensor]) -> dict[str, Tensor]:
        """Undo `merged`: {NODE: (N, D)} → {type: (N_t, D)}. On a graph that is not merged, z itself."""
        if self._starts is None:
            return z
        return dict(zip(self._counts, z[NODE].split(list(self._counts.values()))))

    def to(self, device) -> HeteroGraph:
        """The graph on a device; reverse relations go on sharing their structure."""
        moved: dict[Relation, Adj] = {}
        for key, A in self.adjs.items():
            twin = next((k for k, B in self.adjs.items() if k in moved and B is A.T), None)
            moved[key] = A.to(device) if twin is None else moved[twin].T
        graph = HeteroGraph(self.num_nodes, moved, self.weights,
                            {t: x.to(device) for t, x in self.features.items()},
                            {r: A.to(device) for r, A in self.owners.items()})
        if self._starts is not None:
            graph._starts, graph._counts = self._starts, self._counts
        return graph

    def __repr__(self) -> str:
        nodes = ", ".join(f"{count:,} {t}s" for t, count in self.num_nodes.items())
        return f"HeteroGraph({nodes}; {sum(A.num_edges for A in self.adjs.values()):,} edges)"


def _stacked(features: dict[str, Tensor], starts: dict[str, int], total: int) -> dict[str, Tensor]:
    """Features of several types as one (N, ΣF_t) block-diagonal table: a node has zeros in the other types' columns."""
    if not features:
        return {}
    out, column = torch.zeros(total, sum(x.shape[1] for x in features.values())), 0
    for node_type, x in features.items():
        out[starts[node_type]:starts[node_type] + len(x), column:column + x.shape[1]] = x
        column += x.shape[1]
    return {NODE: out}
