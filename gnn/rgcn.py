"""RGCN. Schlichtkrull et al. 2017, arXiv:1703.06103.

    hᵢ' = σ( Σᵣ Σ_{j ∈ N_r(i)} (1 / c_{i,r}) W_r hⱼ  +  W_0 hᵢ )        eq. 2, c_{i,r} = |N_r(i)|
    W_r = Σ_b a_{rb} V_b                                                 eq. 3, basis decomposition, optional

    paper            code
    W_r              layer.weight()[r], (D_out, D_in); without bases the parameter layer.V itself, one slice a relation
    V_b, a_{rb}      layer.V (B, D_out, D_in), layer.a (R, B)
    W_0              layer.self_loop[type]
    1 / c_{i,r}      normalize_row(A): rows sum to one
    σ                ReLU after every layer but the last, once, after the sum over relations

Deviations: W_0 is one matrix a node type (the paper's graph has one type) and carries a bias. The weights that the
graph gives its relations are not used: W_r learns how much a relation counts. Dropout falls on the features that enter
a layer, layer 0 included (for link prediction the paper drops edges). The block-diagonal form of W_r, eq. 4, is left
out.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnn.sparse import first, normalize_row, spmm_linear


class RGCNLayer(nn.Module):
    """bases: B, how many matrices V_b the relations share; 0 gives every relation a W_r of its own."""

    def __init__(self, node_types, relations, dim_in: int, dim_out: int, bases: int = 0):
        super().__init__()
        self.index = {relation: r for r, relation in enumerate(relations)}
        self.V = nn.Parameter(torch.empty(bases or len(relations), dim_out, dim_in))
        self.a = nn.Parameter(torch.randn(len(relations), bases) / bases ** 0.5) if bases else None
        for matrix in self.V:
            nn.init.xavier_uniform_(matrix)
        self.self_loop = nn.ModuleDict({t: nn.Linear(dim_in, dim_out) for t in node_types})

    def weight(self) -> Tensor:
        """W_r of every relation, (R, D_out, D_in)."""
        return self.V if self.a is None else torch.einsum("rb,boi->roi", self.a, self.V)    # Σ_b a_rb V_b

    def forward(self, x: dict[str, Tensor], adj: dict) -> dict[str, Tensor]:                # x[t]: (N_t, D_in)
        rows = {dst: A.shape[0] for (_, _, dst), A in adj.items()}                          # N_dst of every type
        out = {t: self.self_loop[t](first(h, rows.get(t))) for t, h in x.items()}           # W₀ hᵢ     (N_dst, D_out)
        W = self.weight().unbind(0)                                                         # R × (D_out, D_in)
        for relation, A in adj.items():
            src, _, dst = relation
            message = spmm_linear(normalize_row(A, x[src].dtype), x[src], W[self.index[relation]])
            out[dst] += message                                                             # + Σⱼ W_r hⱼ / c_{i,r}
        return out


class RGCN(nn.Module):
    merged, weighted = False, False

    def __init__(self, num_nodes, relations, dim: int, layers: int, dropout: float = 0.0, bases: int = 0):
        super().__init__()
        self.layers = nn.ModuleList(RGCNLayer(num_nodes, relations, dim, dim, bases) for _ in range(layers))
        self.dropout = dropout

    def forward(self, x: dict[str, Tensor], adjs: list[dict]) -> dict[str, Tensor]:
        for layer, adj in zip(self.layers, adjs, strict=True):
            x = layer({t: F.dropout(h, self.dropout, self.training) for t, h in x.items()}, adj)
            if layer is not self.layers[-1]:
                x = {t: h.relu_() for t, h in x.items()}                                    # σ
        return x
