"""From node embeddings to the two tables whose dot products are the scores.

A playlist is a sequence and its continuation comes at its end, so a playlist's vector may be composed of its own
embedding and its tracks', the later ones counting more:

    v_p = ẑ_p + γ Σ_{t ∈ p} w_t ẑ_t,    w_t ∝ exp(r (pos_t − 1)),  Σ w = 1,  pos_t ∈ (0, 1]

with γ the `track_weight` and r the `recency`; γ = 0 is blind to order and leaves v_p = ẑ_p. A playlist that training
never saw has no embedding of its own: it is folded in as the sum alone. ẑ is z, at unit length for cosine scores.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gnn.sparse import Adj, normalize_row, spmm


def scaled(z: Tensor, score: str) -> Tensor:
    """Embeddings (N, D) as the score takes them: "dot" as they are, "cosine" at unit length."""
    return F.normalize(z, dim=1) if score == "cosine" else z


def centroids(tracks: Tensor, shown: Adj, recency: float) -> Tensor:
    """Σ_t w_t ẑ_t of every playlist: tracks (T, D); shown (P, T), valued by the tracks' places pos_t → (P, D)."""
    weights = torch.exp(recency * (shown.value - 1))
    return spmm(normalize_row(shown.with_value(weights), tracks.dtype), tracks)


def score_tables(z: dict[str, Tensor], shown: Adj, given: Adj, score: str = "dot", recency: float = 0.0,
                 track_weight: float = 0.0) -> tuple[Tensor, Tensor]:
    """Embeddings → playlists (P, D) and tracks (T, D) whose dot product is the score.

    shown (P, T): the training links, given (P, T): what cold playlists show instead; both valued by pos_t, as in
    `centroids`. Playlists in `given` are folded in.
    """
    playlists, tracks = scaled(z["playlist"], score), scaled(z["track"], score)
    if track_weight:
        playlists = playlists + track_weight * centroids(tracks, shown.to(tracks.device), recency)
    cold = (given.ptr.diff() > 0).nonzero().squeeze(1).to(tracks.device)
    if len(cold):
        playlists = playlists.index_copy(0, cold, centroids(tracks, given.to(tracks.device), recency)[cold])
    return playlists, tracks
