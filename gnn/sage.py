"""GraphSAGE with the mean aggregator, on one node type or on many. Hamilton et al. 2017, arXiv:1706.02216.

    h_N(i) = mean{ hⱼ, j ∈ N(i) }                               algorithm 1, line 4
    hᵢ'    = σ( W · concat(hᵢ, h_N(i)) )                        algorithm 1, line 5
           = σ( W_self hᵢ + W_neigh h_N(i) )                    the same, W cut into its two halves

and, with several relations r into i, their weighted average:

    hᵢ'    = σ( W_self hᵢ + Σᵣ (w_r / Σ_r' w_r') W_r mean{ hⱼ, j ∈ N_r(i) } )

    paper            code
    W_self           layer.self_loop[type].weight, .bias
    W_neigh, W_r     layer.neighbours[relation].weight
    w_r              the relation's weight in the graph; the sum runs over the relations into the node's type
    σ                ReLU after every layer but the last

Deviations: the last layer has no σ, and embeddings are not scaled to unit length after each layer (line 7); W_self
carries a bias; the mean is over all neighbours unless blocks are sampled (the paper always samples); where a merged
graph weighs its edges, the mean is weighted. Several node types are ours: W_self is one matrix a type, W_r one a
relation, and a node that has no neighbours in r hears zero from it, at the same share. Dropout falls on the input of
every layer, layer 0 included.

`sage` is the merged graph, one type and one relation; `hetero-sage` is the same layer on the graph as it is.
"""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gnn.sparse import first, normalize_row, spmm_linear


class SAGELayer(nn.Module):
    def __init__(self, node_types, relations, weights: dict, dim_in: int, dim_out: int):
        super().__init__()
        self.self_loop = nn.ModuleDict({t: nn.Linear(dim_in, dim_out) for t in node_types})
        self.neighbours = nn.ModuleDict({"-".join(r): nn.Linear(dim_in, dim_out, bias=False) for r in relations})
        total = {t: sum(weights.get(r, 1.0) for r in relations if r[2] == t) for t in node_types}
        self.share = {r: weights.get(r, 1.0) / total[r[2]] for r in relations}              # w_r / Σ w_r'

    def forward(self, x: dict[str, Tensor], adj: dict) -> dict[str, Tensor]:                # x[t]: (N_t, D_in)
        rows = {dst: A.shape[0] for (_, _, dst), A in adj.items()}                          # N_dst of every type
        out = {t: self.self_loop[t](first(h, rows.get(t))) for t, h in x.items()}           # W_self hᵢ  (N_dst, D_out)
        for relation, A in adj.items():                                                     # A: (N_dst, N_src)
            src, _, dst = relation
            W = self.neighbours["-".join(relation)].weight * self.share[relation]           # (w_r / Σ w) W_r
            out[dst] += spmm_linear(normalize_row(A, x[src].dtype), x[src], W)              # + (·) W_r mean hⱼ
        return out


class HeteroSAGE(nn.Module):
    """weights: {relation: w_r}, 1 where missing."""

    merged, weighted = False, True

    def __init__(self, num_nodes, relations, dim: int, layers: int, dropout: float = 0.0, weights: dict | None = None):
        super().__init__()
        self.layers = nn.ModuleList(SAGELayer(num_nodes, relations, weights or {}, dim, dim) for _ in range(layers))
        self.dropout = dropout

    def forward(self, x: dict[str, Tensor], adjs: list[dict]) -> dict[str, Tensor]:
        for layer, adj in zip(self.layers, adjs, strict=True):
            x = layer({t: F.dropout(h, self.dropout, self.training) for t, h in x.items()}, adj)
            if layer is not self.layers[-1]:
                x = {t: h.relu_() for t, h in x.items()}                                    # σ, after the sum
        return x


class SAGE(HeteroSAGE):
    """The paper's homogeneous case: one node type, one relation."""

    merged, weighted = True, True
