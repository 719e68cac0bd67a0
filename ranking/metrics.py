"""What a ranking is worth. Every mean is over playlists that have held-out tracks; none is a mean of batch means.

Ranks are 0-based among all tracks not known from training. A "hit list" is a (P, K) bool tensor: is the k-th
recommendation of playlist p held out? `counts` (P,) is |G|, the number of held-out tracks of each. Coverage, the
share of the catalogue in anybody's top K, is no mean over playlists: ranking/protocol.py counts it.
"""
from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

CLICK_PAGE, CLICK_LIMIT = 10, 500           # the challenge shows ten tracks a click and gives up after 500


def hit_list(ranked: Tensor, playlists: Tensor, keys: Tensor, num_tracks: int) -> Tensor:
    """ranked (P, K) track ids of `playlists` (P,); keys: sorted p · T + t of all held-out pairs → hits (P, K) bool."""
    wanted = playlists.long().unsqueeze(1) * num_tracks + ranked
    return keys[torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)] == wanted


def hits_at(places: Tensor, row: Tensor, shape: tuple[int, int]) -> Tensor:
    """Hits (P, K) bool from the places (n,), from 0, of held-out tracks in the lists of rows (n,); the same as
    `hit_list` of those lists. Places from K on are no hits."""
    hits = torch.zeros(shape, dtype=torch.bool)
    within = places < shape[1]
    hits[row[within], places[within]] = True
    return hits


def recall(hits: Tensor, counts: Tensor, k: int) -> Tensor:
    """|G ∩ R[:k]| / |G| of every playlist, (P,)."""
    return hits[:, :k].sum(1).double() / counts


def hit_rate(hits: Tensor, counts: Tensor, k: int) -> Tensor:
    """1 if any of the first k is held out, else 0, (P,)."""
    return (hits[:, :k].sum(1) > 0).double()


def ndcg(hits: Tensor, counts: Tensor, k: int) -> Tensor:
    """Σ_{hits i ≤ k} 1/log₂(i+1) over the same sum for min(|G|, k) leading hits (i from 1), (P,)."""
    k = min(k, hits.shape[1])
    gain, ideal = discounts(k)
    return (hits[:, :k] * gain).sum(1) / ideal[counts.clamp(max=k)]


@lru_cache(maxsize=16)
def discounts(k: int) -> tuple[Tensor, Tensor]:
    """1/log₂(i+1) for i from 1 to k, (k,) float64, and the sums of the first 0, 1, … k of them, (k + 1,)."""
    gain = 1 / torch.log2(torch.arange(k, dtype=torch.float64) + 2)
    return gain, torch.cat([torch.zeros(1, dtype=torch.float64), gain.cumsum(0)])


def r_precision(hits: Tensor, counts: Tensor) -> Tensor:
    """|G ∩ R[:|G|]| / |G|, (P,), P ≥ 1. The hit list must be at least max |G| long."""
    within = torch.arange(int(counts.max())) < counts.unsqueeze(1)
    return (hits[:, :within.shape[1]] & within).sum(1).double() / counts


def clicks(hits: Tensor) -> Tensor:
    """⌊(rank of the first hit) / 10⌋ with ranks from 0, and 51 without a hit in the first 500, (P,)."""
    hits = hits[:, :CLICK_LIMIT]
    first = hits.int().argmax(1)                                # 0 without a hit, and then no hit is there
    found = hits.gather(1, first.unsqueeze(1)).squeeze(1)
    return torch.where(found, first // CLICK_PAGE, CLICK_LIMIT // CLICK_PAGE + 1).double()


def surprise(track_counts: Tensor) -> Tensor:
    """−log₂((count(t) + 1) / (entries + tracks)) of every track, (T,) float64; counts (T,) from training."""
    return -torch.log2((track_counts.double() + 1) / (track_counts.sum() + len(track_counts)))


def novelty(ranked: Tensor, real: Tensor, surprise: Tensor, k: int) -> Tensor:
    """Mean over ranks of the tracks' `surprise` (T,), (P,); real (P, K) bool: a playlist that has fewer than K unknown
    tracks is recommended only those."""
    return (surprise[ranked[:, :k]] * real[:, :k]).sum(1) / real[:, :k].sum(1).clamp(min=1)


def roc_auc(positive: Tensor, negative: Tensor) -> float:
    """P(s⁺ > s⁻) + ½ P(s⁺ = s⁻) over all pairs of the pooled scores, positive (E,), negative (E',)."""
    ordered = negative.double().sort().values
    positive = positive.double()
    below = torch.searchsorted(ordered, positive, right=False)
    not_above = torch.searchsorted(ordered, positive, right=True)
    return float((below + not_above).double().mean() / 2 / len(ordered))


def pair_auc(vectors: Tensor, group: Tensor, pairs: int = 100_000, seed: int = 0) -> float | None:
    """Are two nodes of one group nearer than any two? P(cos of a pair of one group > cos of a random pair).

    vectors (N, D); group (N,) ids, −1 = none. `pairs` of each kind: a node of a group of two and more with another of
    its group, and two different nodes out of all. None where no group has two nodes.
    """
    generator = torch.Generator().manual_seed(seed)
    members = torch.argsort(group, stable=True)                                  # group by group; those of −1 first
    count = torch.bincount(group + 1)                                            # (G + 1,)
    count[0], begin = 0, count.cumsum(0) - count
    eligible = members[(count[group[members] + 1] > 1)]
    if len(eligible) == 0:
        return None
    def random(size: Tensor) -> Tensor:
        return (torch.rand(pairs, generator=generator, dtype=torch.float64) * size).long()
    place = torch.empty_like(members)
    place[members] = torch.arange(len(members))
    a = eligible[random(torch.tensor(len(eligible)))]
    first, size = begin[group[a] + 1], count[group[a] + 1]
    b = members[first + (place[a] - first + 1 + random(size - 1)) % size]        # any but a itself
    c = random(torch.tensor(len(vectors)))
    d = (c + 1 + random(torch.tensor(len(vectors) - 1))) % len(vectors)
    unit = torch.nn.functional.normalize(vectors, dim=1).cpu()
    return roc_auc((unit[a] * unit[b]).sum(1), (unit[c] * unit[d]).sum(1))


def per_playlist(hits: Tensor, counts: Tensor, ks: list[int]) -> dict[str, Tensor]:
    """Every metric of hits, by name, (P,) float64 each: what the table's means are means of."""
    values = {"r_precision": r_precision(hits, counts), "clicks": clicks(hits)}
    for k in ks:
        values |= {f"recall@{k}": recall(hits, counts, k), f"ndcg@{k}": ndcg(hits, counts, k),
                   f"hit_rate@{k}": hit_rate(hits, counts, k)}
    return values
