"""From node embeddings to the two tables whose dot products are the scores.

A score could be z_p · z_t, the playlist's embedding times the track's. Two things would be missing.

Order. A playlist is a sequence, and its continuation comes at its end: the last tracks say the most. The playlist's
embedding is blind to order; a mean of its tracks' embeddings need not be.

New playlists. A playlist that training never saw has no embedding, only tracks. But a mean of tracks need not lie where
playlists lie: a model with weights for every node type gives playlists a region of their own. So a linear map M is
fitted that takes the means of the trained playlists' tracks to where these playlists are, and takes others along.

    c_p(r) = Σ_{t ∈ p} w_t ẑ_t,    w_t ∝ (1 + k_t)^−r,  Σ w = 1,  k_t: tracks of p that come after t
    M      = argmin Σ_p ‖ẑ_p − c_p(0) M‖² + λ ‖M − I‖²,   λ = mean diagonal of CᵀC, C = [c_p(0)]_p
    own_p  = ẑ_p of a playlist that was trained on,  c_p(0) M of any other: it is folded in, without training
    v_p    = own_p + γ c_p(r) M

The score of a track is v_p · ẑ_t. γ is the `track_weight` and r the `recency`; r = 0 is blind to order, so that c_p(0)
is the plain mean, and γ = 0 leaves v_p = own_p. ẑ is z, at unit length for cosine scores. The ridge λ pulls M (D, D)
towards the identity, and near it stays the M of a model that treats all nodes alike.

Training scores z itself; validation, evaluation and recommending score through the read-out. It has nothing that a
gradient would have to find: γ and r are settings, and M, a ridge regression, is solved for when the embeddings have
been learnt. Learning the read-out too, from random prefixes of the playlists, scored lower (benchmarks/LOG.md, "What
did not help").

In this file and its callers, a playlist that was trained on has *shown* its tracks; one that was not is *given* some.
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
    """shown (P, T), valued by places (rank + 1) / n, as mpd.build.shown_tracks gives them → the weights w_t, which sum
    to 1 in each row; k_t = n − rank − 1 = (1 − place) n."""
    after = ((1 - shown.value) * shown.ptr.diff()[shown.row.long()]).round()                # k_t        (E,)
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
        """given (B, T), valued by places → what each track of a folded-in playlist counts: v = (Σ_t weight_t ẑ_t) M."""
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
    """Playlists (P, D) and tracks (T, D) whose dot product is the score. Playlists that have tracks in `given` (P, T)
    are folded in, the others continue from `shown` (P, T), by default their training links."""
    playlists, cold = readout.vectors(shown), (given.ptr.diff() > 0).nonzero().squeeze(1)
    if len(cold):
        playlists = playlists.index_copy(0, cold.to(playlists.device), readout.fold_in(given.take(cold)))
    return playlists, readout.tracks
