"""GCN. Kipf & Welling 2017, arXiv:1609.02907.

    H^(l+1) = σ( D̃^-½ (A + I) D̃^-½ H^(l) W^(l) ),   D̃ = D + I        eq. 2

    paper            code
    W^(l)            self.layers[l].linear.weight (transposed, as nn.Linear keeps it)
    D̃^-½ A D̃^-½      normalize_sym(A, loops=1)
    D̃^-½ I D̃^-½      1 / (d_i + 1) on the node's own row
    σ                ReLU after every layer but the last

Deviations: a bias follows the sum (as in the authors' code); edges may carry weights, so D is the weighted degree.
Dropout falls on the input of every layer, layer 0 included (as in the authors' code).
"""
from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gnn.sparse import Adj, first, normalize_sym, spmm


class GCNLayer(nn.Module):
    """hᵢ' = W ( Σⱼ a_ij hⱼ / √(d̃ᵢ d̃ⱼ)  +  hᵢ / d̃ᵢ ) + b

    h (N_src, D_in), A (N_dst, N_src) → (N_dst, D_out); on the full graph both N are all nodes.
    """

    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.linear = nn.Linear(dim_in, dim_out)

    def forward(self, h: Tensor, A: Adj) -> Tensor:
        loop = 1 / (A.row_degree + 1.0).to(h.dtype).unsqueeze(1)                # 1 / d̃ᵢ                (N_dst, 1)
        total = spmm(normalize_sym(A, loops=1.0, dtype=h.dtype), h)             # Σⱼ a_ij hⱼ / √(d̃ᵢ d̃ⱼ)  (N_dst, D_in)
        total.addcmul_(first(h, A.shape[0]), loop)                              # + hᵢ / d̃ᵢ: own rows come first
        return self.linear(total)                                               # W (·) + b            (N_dst, D_out)


class GCN(nn.Module):
    merged, weighted = True, True                       # one node type, one relation; relations' weights count

    def __init__(self, num_nodes, relations, dim: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.ModuleList(GCNLayer(dim, dim) for _ in range(layers))
        self.dropout = dropout

    def forward(self, x: dict[str, Tensor], adjs: list[dict]) -> dict[str, Tensor]:
        ((node, h),) = x.items()                                                # the only type; H⁽⁰⁾    (N, D)
        for layer, adj in zip(self.layers, adjs, strict=True):
            (A,) = adj.values()                                                 # the only relation
            h = layer(F.dropout(h, self.dropout, self.training), A)             # (N_dst, D)
            if layer is not self.layers[-1]:
                h = h.relu_()                                                   # σ
        return {node: h}
