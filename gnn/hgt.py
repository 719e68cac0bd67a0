"""HGT, the heterogeneous graph transformer. Hu et al. 2020, arXiv:2003.01332.

For an edge e = (s → t) of relation φ(e) between node types τ(s) and τ(t), and every head:

    ATT(e)  = ( K(s) W_φ^ATT Q(t)ᵀ ) · μ_φ / √C          eq. 3;  K = K-Linear_τ(s) h_s,  Q = Q-Linear_τ(t) h_t
    α(e)    = softmax over ALL edges into t, of every relation together
    MSG(e)  = V(s) W_φ^MSG                               eq. 4;  V = M-Linear_τ(s) h_s
    h̃_t     = ‖_heads Σ_s α(e) MSG(e)
    h_t'    = g · A-Linear_τ(t)( gelu(h̃_t) ) + (1 − g) h_t,    g = sigmoid(skip_τ(t))

    paper                   code
    K-, Q-, M-, A-Linear    layer.K, .Q, .V, .A [type], with bias; heads are slices of their rows
    W_φ^ATT, W_φ^MSG        layer.W_att, layer.W_msg [relation], (H, C, C), C = D / H
    μ                       layer.mu[relation], (H,)
    (the authors' skip)     layer.skip[type], a scalar

Deviations, "the code" being the authors':
    √C, the width of a head, as in the code; the paper divides by √d, d the width of all heads together
    μ is one number a triple ⟨τ(s), φ, τ(t)⟩, which is what a relation is here, and head; the paper's is one a triple,
        the code's one a φ and head. W_φ is one a triple too, which is the same where a name joins one pair of types
    the residual is gated by g, as in the code; the paper adds h_t whole, and has no g
    skip starts at SKIP = −2, g = 0.12; in the code at 1, g = 0.73
    no layer norm after the residual (the code's default), no relative temporal encoding
    dropout falls on the input of every layer, layer 0 included; the code drops the outputs of A-Linear
    the weights that the graph gives its relations are not used: μ and W_φ learn what a relation counts
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnn.sparse import edge_softmax, first, hstack, sddmm, spmm


SKIP = -2.0          # starts at g = 0.12: nodes begin as themselves, and learn how much to hear


class HGTLayer(nn.Module):
    """x[t] (N_t, D), adj {relation: (N_dst, N_src)} → h' {t: (N_dst, D)}, and {t: (A, α)} of the types that hear."""

    def __init__(self, node_types, relations, dim: int, heads: int):
        super().__init__()
        self.heads, C = heads, dim // heads
        self.K, self.Q, self.V, self.A = (nn.ModuleDict({t: nn.Linear(dim, dim) for t in node_types}) for _ in range(4))
        names = ["-".join(relation) for relation in relations]
        self.W_att, self.W_msg = (
            nn.ParameterDict({n: nn.init.xavier_uniform_(torch.empty(heads, C, C)) for n in names}) for _ in range(2))
        self.mu = nn.ParameterDict({n: torch.ones(heads) for n in names})
        self.skip = nn.ParameterDict({t: torch.tensor(SKIP) for t in node_types})

    def forward(self, x: dict[str, Tensor], adj: dict) -> tuple[dict[str, Tensor], dict]:
        out, attention = {}, {}
        K = {t: self.split(self.K[t](h)) for t, h in x.items()}                             # K(s)     (H, N_src, C)
        V = {t: self.split(self.V[t](h)) for t, h in x.items()}                             # V(s)     (H, N_src, C)
        for t, h in x.items():
            into = [(relation, A) for relation, A in adj.items() if relation[2] == t]       # all relations into t
            if not into:
                out[t] = self.update(t, torch.zeros_like(h), h)                             # h̃ = 0
                continue
            A = hstack([A for _, A in into])                                                # (N_dst, Σ N_src)
            h = first(h, A.shape[0])
            q = self.split(self.Q[t](h))                                                    # Q(t)     (H, N_dst, C)
            k, m = [], []                                   # a block a relation, in the order of hstack's columns
            for relation, _ in into:
                r = "-".join(relation)
                scale = (self.mu[r] / q.shape[2] ** 0.5).view(-1, 1, 1)                     # μ / √C   (H, 1, 1)
                W_att = self.W_att[r] * scale               # scaled here, C² numbers a head, and not on every edge
                k.append(K[relation[0]] @ W_att)                                            # K(s) W_att · μ / √C
                m.append(V[relation[0]] @ self.W_msg[r])                                    # MSG      (H, N_src, C)
            alpha = edge_softmax(A, sddmm(A, q, torch.cat(k, 1)))                           # α of ATT (H, E)
            message = spmm(A, torch.cat(m, 1), alpha)                                       # Σ α MSG  (H, N_dst, C)
            out[t] = self.update(t, message.transpose(0, 1).flatten(1), h)                  # ‖ heads  (N_dst, D)
            attention[t] = A, alpha.detach()
        return out, attention

    def update(self, t: str, message: Tensor, h: Tensor) -> Tensor:
        g = torch.sigmoid(self.skip[t])
        return g * self.A[t](F.gelu(message)) + (1 - g) * h                                 # (N_dst, D)

    def split(self, h: Tensor) -> Tensor:
        """(N, D) → (H, N, C)."""
        return h.view(len(h), self.heads, h.shape[1] // self.heads).transpose(0, 1).contiguous()


class HGT(nn.Module):
    """heads must divide dim. Set `keep_attention` to find {type: (A, α)} a layer in `attention` after a forward pass;
    the columns of A run through the source nodes of the relations into the type, in the order of the graph."""

    merged, weighted = False, False

    def __init__(self, num_nodes, relations, dim: int, layers: int, heads: int = 4, dropout: float = 0.0):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} features")
        self.layers = nn.ModuleList(HGTLayer(num_nodes, relations, dim, heads) for _ in range(layers))
        self.dropout = dropout
        self.keep_attention, self.attention = False, []

    def forward(self, x: dict[str, Tensor], adjs: list[dict]) -> dict[str, Tensor]:
        self.attention = []
        for layer, adj in zip(self.layers, adjs, strict=True):
            x, attention = layer({t: F.dropout(h, self.dropout, self.training) for t, h in x.items()}, adj)
            if self.keep_attention:
                self.attention.append(attention)
        return x
