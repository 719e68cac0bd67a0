"""GAT. Veličković et al. 2018, arXiv:1710.10903.

    e_ij = LeakyReLU( aᵀ [W hᵢ ‖ W hⱼ] )                        eq. 1 and 3, slope 0.2
    α_ij = exp e_ij / Σ_{k ∈ N(i) ∪ i} exp e_ik                 eq. 2
    hᵢ'  = ‖_{heads} σ( Σⱼ α_ij W hⱼ )                          eq. 5

    paper            code
    W                layer.linear.weight, heads one after the other in its rows
    a = [a_dst ‖ a_src]   layer.a_dst, layer.a_src, (H, C): the dot product with a concatenation is a sum of two
    ‖                concatenation of H heads of C = D / H features
    σ                ELU after every layer but the last

Deviations: heads are concatenated in the last layer too (the paper averages them there); a bias follows the sum (as
in the authors' code).
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnn.sparse import add_self_loops, edge_add, edge_softmax, first, spmm


class GATLayer(nn.Module):
    def __init__(self, dim_in: int, dim_out: int, heads: int):
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(dim_in, dim_out, bias=False)
        self.a_dst = nn.Parameter(torch.empty(heads, dim_out // heads))
        self.a_src = nn.Parameter(torch.empty(heads, dim_out // heads))
        self.bias = nn.Parameter(torch.zeros(dim_out))
        for weight in (self.linear.weight, self.a_dst, self.a_src):
            nn.init.xavier_uniform_(weight)

    def forward(self, h: Tensor, A) -> tuple[Tensor, Tensor]:                   # h: (N_src, D_in), A: (N_dst, N_src)
        W, (rows, _) = self.linear.weight, A.shape
        per_head = W.view(self.heads, -1, h.shape[1])                                           # (H, C, D_in)
        a_dst, a_src = (torch.einsum("hc,hcd->hd", a, per_head) for a in (self.a_dst, self.a_src))
        Wh, u, v = F.linear(h, torch.cat([W, a_dst, a_src])).split([len(W), self.heads, self.heads], 1)
        Wh = Wh.view(len(h), self.heads, -1).transpose(0, 1).contiguous()                       # W hⱼ  (H, N_src, C)
        u, v = first(u, rows).t(), v.t()                                     # a_dstᵀ W hᵢ, a_srcᵀ W hⱼ  (H, N)
        e = F.leaky_relu(edge_add(A, u, v), 0.2)                                                # e_ij  (H, E)
        alpha = edge_softmax(A, e)                                                              # α_ij  (H, E)
        out = spmm(A, Wh, alpha)                                                                # Σⱼ α_ij W hⱼ
        return out.transpose(0, 1).flatten(1) + self.bias, alpha                                # ‖     (N_dst, D_out)


class GAT(nn.Module):
    """heads must divide dim. Set `keep_attention` to find [(A, α)] a layer in `attention` after a forward pass."""

    merged, weighted = True, False

    def __init__(self, num_nodes, relations, dim: int, layers: int, heads: int = 4, dropout: float = 0.0):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} features")
        self.layers = nn.ModuleList(GATLayer(dim, dim, heads) for _ in range(layers))
        self.dropout = dropout
        self.keep_attention, self.attention = False, []

    def forward(self, x: dict[str, Tensor], adjs: list[dict]) -> dict[str, Tensor]:
        ((node, h),) = x.items()
        self.attention = []
        for layer, adj in zip(self.layers, adjs, strict=True):
            A = add_self_loops(next(iter(adj.values())))                        # N(i) ∪ i
            h, alpha = layer(F.dropout(h, self.dropout, self.training), A)      # (N_dst, D)
            if layer is not self.layers[-1]:
                h = F.elu(h)                                                    # σ
            if self.keep_attention:
                self.attention.append({node: (A, alpha.detach())})
        return {node: h}
