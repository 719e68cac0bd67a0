"""Exact ranking of the whole catalogue, known tracks excluded, ties broken by track id."""
from __future__ import annotations

from typing import Callable

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]          # playlist ids (B,) → scores (B, T), freshly made: ranking writes into them

CHUNK = 128             # playlists ranked at a time, at most: scores of 128 × 40k tracks stay near the cache
SCORES = 1 << 26        # scores in a table, at most: 256 MB
COMPARED = 1 << 26      # scores that are compared at once on CUDA, at most
GROUP = 32              # tracks whose maximum stands for them when the threshold is sought


def chunk_for(num_tracks: int) -> int:
    """How many playlists are ranked at a time: `CHUNK` up to 524,288 tracks, 24 for the MPD's 2,262,292, 8 at least.
    Multiples of 8, which a matrix product works on alike: a playlist's scores are the same bits in any of them."""
    return min(CHUNK, max(8, SCORES // max(num_tracks, 1) // 8 * 8))


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
    scores = scores.contiguous()
    k = min(k, tracks)
    group = max(1, min(GROUP, tracks // (2 * k)))
    whole = tracks - tracks % group
    maxima = scores[:, :whole].view(rows, group, whole // group).amax(1)
    if whole < tracks:
        maxima = torch.cat([maxima, scores[:, whole:]], dim=1)
    place = _reaching(scores, _kth_largest(maxima, k))
    row = place // tracks
    count = torch.bincount(row, minlength=rows)                              # candidates of a row, at least k
    begin, width = count.cumsum(0) - count, int(count.max())
    cell = row * width + torch.arange(len(row), device=row.device) - begin[row]
    return _best_of(scores, place, row, cell, width, k)


def _kth_largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest of every row, (B, n) → (B, 1)."""
    if values.is_cuda:
        return values.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
    n = values.shape[1]
    return torch.from_numpy(np.partition(values.numpy(), n - k, axis=1)[:, n - k:n - k + 1])


def _reaching(scores: Tensor, threshold: Tensor) -> Tensor:
    """Where scores (B, T) reach the threshold of their row (B, 1): ascending indices into the flattened scores."""
    if scores.is_cuda:
        return (scores >= threshold).view(-1).nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(scores.numpy() >= threshold.numpy()))      # four times as fast as torch's


def _best_of(scores: Tensor, place: Tensor, row: Tensor, cell: Tensor, width: int, k: int) -> tuple[Tensor, Tensor]:
    """The k best of the candidates at `place` (n,), which stand in the rows `row` (n,), ties by lower id.

    cell: (n,) where each goes in a table (B, width). Float32 scores are sorted as whole numbers, the score in the high
    half and the track in the low one: one plain sort, which processors do eight at a time, and no order to carry along.
    """
    rows, tracks = scores.shape
    track, value = place - row * tracks, scores.view(-1).index_select(0, place)
    if scores.dtype != torch.float32:
        table, name = scores.new_full((rows * width,), -torch.inf), cell.new_zeros(rows * width)
        table[cell], name[cell] = value, track
        table, order = table.view(rows, width).sort(dim=1, descending=True, stable=True)
        return table[:, :k], name.view(rows, width).gather(1, order[:, :k])
    bits = (value + 0.0).view(torch.int32)                                   # + 0: −0 and 0 are equal, their bits not
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)                              # an integer that rises with the score
    key = cell.new_full((rows * width,), torch.iinfo(torch.int64).max)
    key[cell] = (~rising).long() << 32 | track
    key = key.view(rows, width)
    key = key.sort(dim=1).values if key.is_cuda else torch.from_numpy(np.sort(key.numpy(), axis=1))
    best = key[:, :k] & 0xFFFFFFFF
    return scores.gather(1, best), best


def count_ranks(scores: Tensor, row: Tensor, track: Tensor) -> Tensor:
    """The place of given tracks in the lists that `topk` would make, from 0, without making the lists.

    scores: (B, T); row, track: (n,) which row of scores, and which track in it → (n,) int64. A place is the number of
    tracks scored higher, or as high with a lower id. One reading of T scores each, where a list is sorted out of all.
    """
    if scores.is_cuda:
        return _count_ranks_at_once(scores, row, track)
    table, above, places = scores.numpy(), np.empty(scores.shape[1], bool), []
    for r, t, mine in zip(row.tolist(), track.tolist(), scores[row, track].tolist()):
        np.greater_equal(table[r, :t], mine, out=above[:t])
        np.greater(table[r, t:], mine, out=above[t:])
        places.append(np.count_nonzero(above))              # twenty times as fast as torch's sum
    return torch.tensor(places, dtype=torch.int64)


def _count_ranks_at_once(scores: Tensor, row: Tensor, track: Tensor) -> Tensor:
    """`count_ranks` for many pairs together: tiles of (b, T) comparisons, no loop over pairs."""
    row, track = row.to(scores.device), track.to(scores.device)
    every, places = torch.arange(scores.shape[1], device=scores.device), []
    for r, t in zip(*(ids.split(max(1, COMPARED // scores.shape[1])) for ids in (row, track))):
        lines, mine = scores[r], scores[r, t].unsqueeze(1)                                  # (b, T), (b, 1)
        places.append(((lines > mine) | (lines == mine) & (every < t.unsqueeze(1))).sum(1))
    return torch.cat(places)


def rank(score: Score, playlists: Tensor, known: Known, k: int) -> tuple[Tensor, Tensor]:
    """Top k of the catalogue for many playlists (P,), in chunks: values (P, k) and track ids (P, k).

    A playlist with fewer than k unknown tracks ends in −inf values; the ids there are masked tracks and mean nothing.
    """
    chunks = playlists.split(chunk_for(score(playlists[:1]).shape[1]))
    values, tracks = zip(*(topk(mask_known(score(chunk), chunk, known), k) for chunk in chunks))
    return torch.cat(values).cpu(), torch.cat(tracks).cpu()
