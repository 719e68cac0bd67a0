"""Exact ranking of the whole catalogue, known tracks excluded, ties broken by track id."""
from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]          # playlist ids (B,) → scores (B, T), freshly made: ranking writes into them

CHUNK = 256             # playlists ranked at a time: scores of 256 × 40k tracks stay near the cache
GROUP = 16              # tracks whose maximum stands for them when the threshold is sought


class Known:
    """Which (playlist, track) pairs are known, as one row of track ids a playlist (CSR).

    playlist, track: (E,) integer tensors, in any order.
    """

    def __init__(self, playlist: Tensor, track: Tensor, num_playlists: int):
        order = torch.argsort(playlist, stable=True)
        self.track = track[order].long()
        self.ptr = torch.zeros(num_playlists + 1, dtype=torch.int64)
        self.ptr[1:] = torch.bincount(playlist, minlength=num_playlists).cumsum(0)

    def of(self, playlists: Tensor) -> tuple[Tensor, Tensor]:
        """The known tracks of a batch of playlists (B,): (row in the batch, track id), each (n,)."""
        start, count = self.ptr[playlists], self.ptr[playlists + 1] - self.ptr[playlists]
        row = torch.repeat_interleave(torch.arange(len(playlists)), count)
        within = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
        return row, self.track[start[row] + within]


def mask_known(scores: Tensor, playlists: Tensor, known: Known) -> Tensor:
    """Scores (B, T) with −inf, in place, on every known track: what is masked is never recommended."""
    row, track = known.of(playlists)
    scores.view(-1).index_fill_(0, (row * scores.shape[1] + track).to(scores.device), -torch.inf)
    return scores


def topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of every row, best first, ties by lower id: values (B, k) and track ids (B, k). Exact.

    Tracks are cut into strided groups; at least k tracks reach the k-th largest group maximum, so everything below it
    is out, and only a few hundred candidates a row have to be sorted.
    """
    rows, tracks = scores.shape
    k = min(k, tracks)
    group = max(1, min(GROUP, tracks // (2 * k)))
    whole = tracks - tracks % group
    maxima = scores[:, :whole].view(rows, group, whole // group).amax(1)
    if whole < tracks:
        maxima = torch.cat([maxima, scores[:, whole:]], dim=1)
    threshold = maxima.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    row, track = (scores >= threshold).nonzero(as_tuple=True)                # in track order within a row
    count = torch.bincount(row, minlength=rows)
    slot = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    width = int(count.max())
    value = scores.new_full((rows, width), -torch.inf)
    value[row, slot] = scores[row, track]
    name = torch.zeros((rows, width), dtype=torch.int64, device=row.device)
    name[row, slot] = track
    value, order = value.sort(dim=1, descending=True, stable=True)           # stable: equal scores stay in track order
    return value[:, :k], name.gather(1, order[:, :k])


def rank(score: Score, playlists: Tensor, known: Known, k: int) -> tuple[Tensor, Tensor]:
    """Top k of the catalogue for many playlists (P,), in chunks: values (P, k) and track ids (P, k).

    A playlist with fewer than k unknown tracks ends in −inf values; the ids there are masked tracks and mean nothing.
    """
    values, tracks = zip(*(topk(mask_known(score(chunk), chunk, known), k) for chunk in playlists.split(CHUNK)))
    return torch.cat(values).cpu(), torch.cat(tracks).cpu()
