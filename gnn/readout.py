"""From node embeddings to the two tables whose dot products are the scores.

A playlist is a sequence and its continuation comes at its end, so a playlist's vector is composed of its own embedding
and its tracks', the later ones counting more:

    c_p(r) = Σ_{t ∈ p} w_t ẑ_t,    w_t ∝ (1 + k_t)^−r,  Σ w = 1,  k_t: tracks of p that come after t
    v_p    = own_p + γ c_p(r) M
    own_p  = ẑ_p of a playlist that was trained on,  c_p(0) M of any other: it is folded in, without training
    M      = argmin Σ_p ‖ẑ_p − c_p(0) M‖² + λ ‖M − I‖²,   λ = mean diagonal of CᵀC, C = [c_p(0)]_p

with γ the `track_weight` and r the `recency`; r = 0 is blind to order, γ = 0 leaves v_p = own_p. ẑ is z, at unit length
for cosine scores. M (D, D) takes a mean of tracks to where its playlist would lie. Models that treat all nodes alike
have M near the identity; those with weights for every type give playlists a space of their own, and M is the way there.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gnn.sparse import Adj, normalize_row, spmm


def scaled(z: Tensor, score: str) -> Tensor:
    """Embeddings (N, D) as the score takes them: "dot" as they are, "cosine" at unit length."""
    return F.normalize(z, dim=1) if score == "cosine" else z


def fading(shown: Adj, recency: float) -> Adj:
    """shown (P, T), valued by the tracks' places in (0, 1], as mpd.build.shown_tracks gives them → the weights w_t, each
    row summing to 1."""
    after = ((1 - shown.value) * shown.ptr.diff()[shown.row.long()]).round()                # k_t
    return normalize_row(shown.with_value((1 + after) ** -recency))


class ReadOut:
    """Scores of one set of embeddings: `vectors` of playlists (P, D) · `tracks` (T, D)ᵀ, and `fold_in` for any other.

    z: embeddings by type, at least "playlist" and "track"; shown (P, T): the training links, valued by their places.
    """

    def __init__(self, z: dict[str, Tensor], shown: Adj, score: str = "dot", recency: float = 0.0,
                 track_weight: float = 0.0):
        self.recency, self.track_weight = recency, track_weight
        self.own, self.tracks = scaled(z["playlist"], score), scaled(z["track"], score)     # ẑ   (P, D), (T, D)
        self.shown = shown.to(self.tracks.device)
        alike = spmm(fading(self.shown, 0), self.tracks)                                    # c(0)      (P, D)
        gram, target = alike.t() @ alike, alike.t() @ self.own                              # CᵀC, CᵀẐ  (D, D)
        pull = gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram), device=gram.device)        # λ I
        self.map = torch.linalg.solve((gram + pull).double(), (target + pull).double()).to(gram.dtype)   # M    (D, D)

    def vectors(self, shown: Adj | None = None) -> Tensor:
        """v (P, D) of the playlists that were trained, continued from the tracks they hold: shown (P, T), the training
        links or more than those, valued by their places."""
        recent = fading(self.shown if shown is None else shown.to(self.tracks.device), self.recency)
        return self.own + self.track_weight * spmm(recent, self.tracks) @ self.map

    def weights(self, given: Adj) -> Adj:
        """given (B, T), valued by their places → what each track of a folded-in playlist counts: v = (Σ_t weight_t ẑ_t) M."""
        return given.with_value(fading(given, 0).value + self.track_weight * fading(given, self.recency).value)

    def fold_in(self, given: Adj) -> Tensor:
        """v (B, D) of playlists that training never saw, by what they hold: given (B, T), valued by their places."""
        return spmm(self.weights(given.to(self.tracks.device)), self.tracks) @ self.map


class JointReadOut:
    """Several read-outs as one: vectors side by side, so that a score is the sum of theirs."""

    def __init__(self, members: list[ReadOut]):
        self.members, self.tracks = members, torch.cat([readout.tracks for readout in members], dim=1)      # (T, Σ D)

    def vectors(self, shown: Adj | None = None) -> Tensor:
        return torch.cat([readout.vectors(shown) for readout in self.members], dim=1)                       # (P, Σ D)

    def fold_in(self, given: Adj) -> Tensor:
        return torch.cat([readout.fold_in(given) for readout in self.members], dim=1)                       # (B, Σ D)


def score_tables(readout: ReadOut | JointReadOut, given: Adj, shown: Adj | None = None) -> tuple[Tensor, Tensor]:
    """Playlists (P, D) and tracks (T, D) whose dot product is the score. Those of `given` (P, T), which show tracks
    without having been trained on, are folded in; the others hold `shown` (P, T), by default their training links."""
    playlists, cold = readout.vectors(shown), (given.ptr.diff() > 0).nonzero().squeeze(1)
    if len(cold):
        playlists = playlists.index_copy(0, cold.to(playlists.device), readout.fold_in(given.take(cold)))
    return playlists, readout.tracks
