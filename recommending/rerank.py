"""What a list may trade for accuracy: novelty, by taking popularity away, and variety, by a cap on each artist."""
from __future__ import annotations

import torch
from torch import Tensor


def penalised(scores: Tensor, counts: Tensor, penalty: float) -> Tensor:
    """(s − s̄)/σ_s − λ (l − l̄)/σ_l,  l = log(1 + count): λ is the weight of popularity against the score when both are
    in standard deviations over the catalogue. Order is untouched by λ = 0, and its scores are those given.

    scores (B, T); counts (T,) training entries of each track; penalty λ → (B, T).
    """
    if not penalty:
        return scores
    popularity = torch.log1p(counts.to(scores))
    popularity = (popularity - popularity.mean()) / popularity.std().clamp(min=1e-12)
    deviation = scores.std(1, keepdim=True).clamp(min=1e-12)
    return (scores - scores.mean(1, keepdim=True)) / deviation - penalty * popularity


def within_cap(ranked: Tensor, group: Tensor, cap: int) -> Tensor:
    """Which entries of the lists ranked (B, K) stay if each group may have `cap` of them, the best first → (B, K) bool.

    group (T,) the artist of every track, −1 = unknown, which is never capped.
    """
    rows, length = ranked.shape
    of = group[ranked]                                                                          # (B, K)
    key = (of + 1 + torch.arange(rows).unsqueeze(1) * (int(group.max()) + 2)).flatten()
    order = torch.argsort(key, stable=True)                     # list by list, artist by artist, best first
    new = torch.ones(len(key), dtype=torch.bool)
    new[1:] = key[order][1:] != key[order][:-1]
    begin = torch.where(new, torch.arange(len(key)), 0).cummax(0).values
    place = torch.empty_like(key)
    place[order] = torch.arange(len(key)) - begin               # how many of the same artist stand before
    return (place.view(rows, length) < cap) | (of < 0)
