"""LightGCN: propagation and nothing else. He et al. 2020, arXiv:2002.02126.

    e_i^(l+1) = Σ_{j ∈ N(i)} e_j^(l) / (√|N(i)| √|N(j)|)            eq. 3
    z_i       = Σ_l α_l e_i^(l),   α_l = 1 / (L + 1)                eq. 4 and section 3.1.2

    paper            code
    e^(0)            x, the input vectors: the model itself has no parameters
    1/(√·√·)         normalize_sym(A, exponent)
    K layers         len(adjs)

Deviations: `exponent` may soften the degree normalisation (the paper's is 0.5), and the graph may hold more than
playlists and tracks: degrees are then weighted sums over all edges of a node.
"""
from __future__ import annotations

from torch import Tensor, nn

from gnn.sparse import first, normalize_sym, spmm


class LightGCN(nn.Module):
    """num_nodes, relations, dim: as every model; unused, since nothing is learnt here."""

    merged, weighted = True, True

    def __init__(self, num_nodes, relations, dim: int, layers: int, exponent: float = 0.5):
        super().__init__()
        self.exponent = exponent

    def forward(self, x: dict[str, Tensor], adjs: list[dict]) -> dict[str, Tensor]:
        ((node, x),) = x.items()                                  # e⁽⁰⁾                               (N, D)
        h = x
        for adj in adjs:                                          # Σ_l A^l x, by Horner: x + A (x + A (x + … ))
            (A,) = adj.values()
            A = normalize_sym(A, self.exponent, dtype=h.dtype)    # 1 / (√dᵢ √dⱼ) on every edge
            h = spmm(A, h)                                        # Σⱼ (·)ⱼ / (√dᵢ √dⱼ)                (N_dst, D)
            h += first(x, len(h))                                 # destination rows come first
        return {node: h.div_(len(adjs) + 1)}                      # mean over layers 0 … L

    def parts(self, x: Tensor, A, layers: int, node: int) -> tuple[Tensor, Tensor]:
        """z of one node as a sum over its neighbours: z = x / (L + 1) + Σⱼ partⱼ → parts (n, D) and the ids j (n,).

        x (N, D): layer 0; A: the whole graph. By Horner's rule the last step is z = (x + A h) / (L + 1), h being the
        same sum with one layer less."""
        (h,) = self({"": x.clone()}, [{"": A}] * (layers - 1)).values()                                 # (N, D)
        A = normalize_sym(A, self.exponent, dtype=x.dtype)
        edges = slice(int(A.ptr[node]), int(A.ptr[node + 1]))
        neighbours = A.col[edges].long()
        return A.value[edges].unsqueeze(1) * h[neighbours] * (layers / (layers + 1)), neighbours
