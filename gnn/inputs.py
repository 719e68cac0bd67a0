"""Layer 0: what a node is before any message arrives."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from gnn.graph import HeteroGraph, Relation
from gnn.sparse import Adj, spmm


class Inputs(nn.Module):
    """x_i⁰ = [i seen] e_i + Σ_{o ∈ owners(i)} e_o + W_t f_i

    a learnt vector per node, those of its owners (a track's artist and album), and a linear map of its features where
    its type has any.

    num_nodes  {type: N_t};  dim D;  features {type: (N_t, F_t)};  owners {(src, name, dst): Adj}, see HeteroGraph,
    empty where a node is to start as itself alone;  seen {type: (N_t, 1) float}, see `seen_in`, 1 for types not in it.

    e ~ N(0, std²) with std 0.1, which is what LightGCN's code draws; its paper (arXiv:2002.02126) says Xavier.
    """

    def __init__(self, num_nodes: dict[str, int], dim: int, features: dict[str, Tensor] | None = None,
                 owners: dict | None = None, seen: dict[str, Tensor] | None = None, std: float = 0.1):
        super().__init__()
        self.embedding = nn.ModuleDict({t: nn.utils.skip_init(nn.Embedding, n, dim) for t, n in num_nodes.items()})
        for table in self.embedding.values():
            nn.init.normal_(table.weight, std=std)
        self.features, self.owners, self.seen = features or {}, owners or {}, seen or {}    # on the graph's device
        self.project = nn.ModuleDict({t: nn.Linear(f.shape[1], dim, bias=False) for t, f in self.features.items()})
        for t, linear in self.project.items():
            nn.init.normal_(linear.weight, std=std / self.features[t].shape[1] ** 0.5)      # as loud as the embeddings

    def sparse_gradients(self, on: bool) -> None:
        """Whether the gradient of a table has rows only for the nodes asked for, so that a step on a sampled batch
        costs what the batch costs, however large the table (training.optimiser.RowAdam)."""
        for table in self.embedding.values():
            table.sparse = on

    def forward(self, nodes: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Vectors of the nodes asked for, {type: (n_t, D)} in the order of `nodes` {type: (n_t,) ids}; None: of all."""
        out = {}
        for t, table in self.embedding.items():
            out[t] = table.weight if nodes is None else table(nodes[t])                         # e_i    (n_t, D)
            if t in self.seen:
                seen = self.seen[t] if nodes is None else self.seen[t][nodes[t]]
                out[t] = out[t] * seen                                                          # [seen] e_i
            if t in self.project:
                f = self.features[t] if nodes is None else self.features[t][nodes[t]]
                out[t] = out[t] + self.project[t](f)                                            # + W f_i
        for (src, _, dst), A in self.owners.items():
            if nodes is None:
                out[dst] = out[dst] + spmm(A, self.embedding[src].weight)                       # + Σ e_o
            else:                                               # looked up edge by edge: the gradient stays sparse
                A = A.take(nodes[dst])
                each = torch.arange(A.num_edges, dtype=torch.int32, device=A.device)
                out[dst] = out[dst] + spmm(Adj(A.ptr, each, (A.shape[0], A.num_edges)), self.embedding[src](A.col))
        return out


def seen_in(view: HeteroGraph, owners: dict[Relation, Adj]) -> dict[str, Tensor]:
    """[i seen], {type: (N_t, 1) float}, of the types that have owners or features: which nodes have their own vector.

    Where a node has no links, all that training could tell of its own vector is that nobody wants it. So it has none,
    as long as owners or features describe it. Three tracks, and an artist a:

        track   playlists in training   artist   seen   x⁰
        0       4                       a        1      e_0 + e_a
        1       none                    a        0            e_a       starts as its artist does
        2       none                    none     1      e_2             nothing else is known of it
    """
    seen = {}
    for t in set(view.features) | {dst for _, _, dst in owners}:
        described = [A.ptr.diff() > 0 for (_, _, dst), A in owners.items() if dst == t]
        described += [view.features[t].any(1)] if t in view.features else []
        seen[t] = ((view.links(t) > 0) | ~torch.stack(described).any(0)).float().unsqueeze(1)
    return seen
