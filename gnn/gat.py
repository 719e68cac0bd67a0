"""GAT. Veličković et al. 2018, arXiv:1710.10903.

    e_ij = LeakyReLU( aᵀ [W hᵢ ‖ W hⱼ] )                        eq. 1 and 3, slope 0.2
    α_ij = exp e_ij / Σ_{k ∈ N(i) ∪ i} exp e_ik                 eq. 2
    hᵢ'  = ‖_{heads} σ( Σⱼ α_ij W hⱼ )                          eq. 5

    paper                     code
    W                         layer.linear.weight, heads one after the other in its rows
    a = [a_dst ‖ a_src]       layer.a_dst, layer.a_src, (H, C), a row for each head
    aᵀ [W hᵢ ‖ W hⱼ]          = a_dstᵀ (W hᵢ) + a_srcᵀ (W hⱼ): the dot product with a concatenation is a sum of two
                              = (a_dstᵀ W) hᵢ + (a_srcᵀ W) hⱼ: and matrix products are associative, so that aᵀ W is
                              computed first, and multiplied by h beside W itself, as H more rows of the same matrix
    ‖                         concatenation of H heads of C = D / H features
    σ                         ELU after every layer but the last

Deviations: heads are concatenated in the last layer too (the paper averages them there, eq. 6); a bias follows the sum
(as in the authors' code); dropout falls on the input of every layer, layer 0 included, as in the paper, but not on α,
where the paper has it too (section 3.3). The weights that the graph gives its edges are not used: α takes their place.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnn.sparse import Adj, add_self_loops, edge_add, edge_softmax, first, spmm


class GATLayer(nn.Module):
    """h (N_src, D_in), A (N_dst, N_src) with self-loops → hᵢ' before σ (N_dst, D_out), and α (H, E)."""

    def __init__(self, dim_in: int, dim_out: int, heads: int):
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(dim_in, dim_out, bias=False)
        self.a_dst = nn.Parameter(torch.empty(heads, dim_out // heads))
        self.a_src = nn.Parameter(torch.empty(heads, dim_out // heads))
        self.bias = nn.Parameter(torch.zeros(dim_out))
        for weight in (self.linear.weight, self.a_dst, self.a_src):
            nn.init.xavier_uniform_(weight)

    def forward(self, h: Tensor, A: Adj) -> tuple[Tensor, Tensor]:
        W, H = self.linear.weight, self.heads                                                   # W     (D_out, D_in)
        per_head = W.view(H, -1, h.shape[1])                                                    # (H, C, D_in)
        aW_dst, aW_src = (torch.einsum("hc,hcd->hd", a, per_head)                               # a_dstᵀ W, a_srcᵀ W
                          for a in (self.a_dst, self.a_src))                                    # (H, D_in) each
        Wh, u, v = F.linear(h, torch.cat([W, aW_dst, aW_src])).split([len(W), H, H], 1)         # each times h
        Wh = Wh.view(len(h), H, -1).transpose(0, 1).contiguous()                                # W hⱼ  (H, N_src, C)
        u = first(u, A.shape[0]).t()                                                            # a_dstᵀ W hᵢ (H, N_dst)
        v = v.t()                                                                               # a_srcᵀ W hⱼ (H, N_src)
        e = F.leaky_relu(edge_add(A, u, v), 0.2)                                                # e_ij  (H, E)
        alpha = edge_softmax(A, e)                                                              # α_ij  (H, E)
        out = spmm(A, Wh, alpha)                                                                # Σⱼ α_ij W hⱼ
        return out.transpose(0, 1).flatten(1) + self.bias, alpha                                # ‖     (N_dst, D_out)


class GAT(nn.Module):
    """heads must divide dim. Set `keep_attention` to find {"node": (A, α)} a layer in `attention` after a forward pass;
    A is the merged adjacency with self-loops."""

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
            (A,) = adj.values()
            A = add_self_loops(A)                                               # N(i) ∪ i
            h, alpha = layer(F.dropout(h, self.dropout, self.training), A)      # (N_dst, D), (H, E)
            if layer is not self.layers[-1]:
                h = F.elu(h)                                                    # σ
            if self.keep_attention:
                self.attention.append({node: (A, alpha.detach())})
        return {node: h}
