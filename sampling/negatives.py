"""Tracks that a playlist does not hold, to be pushed away from it.

Everything here has draw(playlist (B,), positive (B,), count) → (B, count) track ids, none of them known to the
playlist; row b's negatives belong to row b's playlist. `refresh(playlists, tracks)` hands over current embeddings;
until the first one, hard draws are random ones (the warm-up).
"""
from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor

from common.errors import InputError

LARGEST_KEY = 2 ** 63 - 1       # of an int64


class Negatives:
    """Independent draws among the tracks that a playlist is not known to hold, uniform or by weight. Exact: no
    rejection, no retry, one binary search a draw.

    playlist, track: (E,) known positives; num_tracks T; generator: makes the draws; weights: (T,) int64, a track's
    chance is proportional to its own (None: all equal).
    Raises InputError if a playlist holds every track, so that it has no negative at all, and ValueError if the keys of
    so many playlists and weights do not fit into 64 bits (`popularity_weights` makes weights that do).

    Lay all tracks end to end, each as long as its weight w_t. With C_t = Σ_{t' < t} w_t' and a playlist's known tracks
    k_0 < k_1 < …, the unknown length before k_j is G_j = C_{k_j} − Σ_{i < j} w_{k_i}, which ascends with j. A draw r
    from the unknown length skips every known track with G_j ≤ r: r' = r + Σ_{j: G_j ≤ r} w_{k_j}, and falls on the
    track that covers r'. All playlists' G stand in one sorted key array.
    """

    def __init__(self, playlist: Tensor, track: Tensor, num_playlists: int, num_tracks: int,
                 generator: torch.Generator, weights: Tensor | None = None):
        w = torch.ones(num_tracks, dtype=torch.int64, device=track.device) if weights is None else weights
        self.total = _sum(w)
        if num_playlists * (self.total + 1) > LARGEST_KEY:
            raise ValueError(f"{num_playlists:,} playlists times the sum of the weights, {self.total:,}, must stay "
                             f"below 2⁶³; scale the weights down")
        key = pair_keys(playlist, track, num_tracks)
        playlist, track = key // num_tracks, key % num_tracks
        degree = torch.bincount(playlist, minlength=num_playlists)
        if int(degree.max()) >= num_tracks:
            raise InputError(f"playlist {int(degree.argmax())} holds all {num_tracks} tracks, so that it has no "
                             f"negatives; leave it out of the data, or raise --k-core to change the catalogue")
        self.num_tracks, self.generator, self.weights = num_tracks, generator, weights
        self.fewest = num_tracks - int(degree.max())                                # unknown tracks of the fullest
        self.end = w.cumsum(0)                                                      # C_t + w_t, (T,)
        known = w[track]
        self.start = degree.cumsum(0) - degree                                      # (P,) first key of each playlist
        self.skipped = torch.cat([known.new_zeros(1), known.cumsum(0)])             # Σ w over all keys before, (E + 1,)
        before = self.skipped[:-1] - self.skipped[self.start[playlist]]             # Σ_{i < j} w_{k_i}
        self.key = playlist * (self.total + 1) + (self.end[track] - known - before)             # G_j, ascending
        self.unknown = self.total - (self.skipped[self.start + degree] - self.skipped[self.start])      # (P,)

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        """Random draws ask no embeddings."""

    def draw(self, playlist: Tensor, positive: Tensor, count: int) -> Tensor:
        playlist = playlist.long().unsqueeze(1)                                     # (B, 1)
        uniform = torch.rand((len(playlist), count), generator=self.generator, dtype=torch.float64,
                             device=self.generator.device).to(playlist.device)
        r = (uniform * self.unknown[playlist]).long()                               # (B, count)
        passed = torch.searchsorted(self.key, playlist * (self.total + 1) + r, right=True)
        start = self.start[playlist]
        if self.weights is None:                                                    # every weight is 1: Σ w = how many
            return r + passed - start
        return torch.searchsorted(self.end, r + self.skipped[passed] - self.skipped[start], right=True)


def popularity_weights(track: Tensor, num_tracks: int, power: float, num_playlists: int = 1) -> Tensor:
    """Integer weights ∝ (count + 1)^power of the training tracks (E,), (T,) int64; power ¾ is word2vec's
    (Mikolov et al. 2013, arXiv:1310.4546, section 2.2).

    num_playlists P: of the `Negatives` that draw by them, whose keys run up to P (Σ w + 1) and must stay below 2⁶³.
    The smallest weight is 1000, so that rounding moves a chance by half a thousandth at most. Where keys would grow
    too large, all are scaled down to fit, to 1 at least: a weight w is then off by ½ / w of itself at most, or, where
    its share would be less than 1, too large by less than 1. At power 2 that begins at some hundred thousand playlists.
    """
    weights = (torch.bincount(track, minlength=num_tracks) + 1.0).double() ** power
    weights = weights * 1000 / weights.min()
    room = LARGEST_KEY // num_playlists - 1 - num_tracks            # for Σ w before rounding, which adds less than T
    total = float(weights.sum())
    if total > room:
        weights *= room / total * (1 - 1e-9)                        # float64 itself rounds, by far less
    return weights.round().long().clamp(min=1)


class BestOf:
    """Dynamic negative sampling: of M random candidates, one of the `among` that the model scores highest.

    Zhang et al. 2013 (SIGIR), algorithm 1, is `among` = 1. M sets the depth: the smaller, the rarer the very top of the
    ranking, which is mostly unlabelled positives. `guard` passes over so many of the very best candidates.
    """

    def __init__(self, random: Negatives, candidates: int = 16, among: int = 1, guard: int = 0):
        self.random, self.candidates, self.among, self.guard = random, candidates, among, guard
        self.playlists = self.tracks = None

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        self.playlists, self.tracks = playlists.detach(), tracks.detach()

    def draw(self, playlist: Tensor, positive: Tensor, count: int) -> Tensor:
        if self.playlists is None:
            return self.random.draw(playlist, positive, count)
        shape = (len(playlist), count, self.candidates)
        drawn = self.random.draw(playlist, positive, count * self.candidates)                   # (B, count · M)
        scores = torch.bmm(self.tracks[drawn], self.playlists[playlist].unsqueeze(2)).view(shape)
        if self.among == 1 and not self.guard:
            best = scores.argmax(2, keepdim=True)
        else:
            best = scores.topk(self.guard + self.among, dim=2).indices[..., self.guard:]        # (B, count, among)
            one = torch.randint(self.among, shape[:2], generator=self.random.generator,
                                device=self.random.generator.device)
            best = best.gather(2, one.to(best.device).unsqueeze(2))
        return drawn.view(shape).gather(2, best).squeeze(2)


class TopWindow:
    """Uniform draws from ranks `guard` … `depth` of each playlist's current ranking, known tracks excluded.

    rank(playlists (P, D), tracks (T, D), depth) → (P, depth) track ids, best first. The window must be wide (1,000 of
    13,500): drawing from the top hundred is mostly drawing unlabelled positives. Holds P × depth ids.
    """

    def __init__(self, random: Negatives, rank: Callable[[Tensor, Tensor, int], Tensor], depth: int = 1000,
                 guard: int = 0):
        self.random, self.rank, self.guard = random, rank, guard
        self.depth = min(depth, random.fewest)              # every playlist has so many unknown tracks
        if guard >= self.depth:
            raise InputError(f"--guard {guard}: leaves nothing of the {self.depth} best tracks that every playlist has")
        self.window = None

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        self.window = self.rank(playlists, tracks, self.depth).int()                            # (P, depth)

    def draw(self, playlist: Tensor, positive: Tensor, count: int) -> Tensor:
        if self.window is None:
            return self.random.draw(playlist, positive, count)
        place = torch.randint(self.guard, self.depth, (len(playlist), count), generator=self.random.generator,
                              device=self.random.generator.device).to(playlist.device)
        return self.window[playlist.unsqueeze(1), place].long()


class SemiHard:
    """Tracks of the positive's own artist or album that the playlist does not hold: near misses that need no scoring.

    group: (T,) the artist or album of every track, −1 for none; known: `pair_keys` of the training pairs. Where the
    draw is known to the playlist, or the positive has no group, a random draw takes its place.
    """

    def __init__(self, random: Negatives, group: Tensor, known: Tensor):
        self.random, self.group, self.known = random, group.long(), known
        self.order = torch.argsort(self.group, stable=True)                                     # tracks by group
        size = torch.bincount(self.group + 1, minlength=int(self.group.max()) + 2)
        self.size, self.start = size[1:], (size.cumsum(0) - size)[1:]

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        """Asks no embeddings."""

    def draw(self, playlist: Tensor, positive: Tensor, count: int) -> Tensor:
        other = self.random.draw(playlist, positive, count)
        group = self.group[positive].unsqueeze(1)                                               # (B, 1)
        uniform = torch.rand(other.shape, generator=self.random.generator, device=self.random.generator.device)
        place = self.start[group] + (uniform.to(group.device) * self.size[group]).long()
        drawn = self.order[place.clamp(max=len(self.order) - 1)]
        return torch.where(is_known(self.known, playlist, drawn, self.random.num_tracks) | (group < 0), other, drawn)


class Mixed:
    """Each draw from one of several sources: [(source, share), …], shares that sum to 1."""

    def __init__(self, sources: list, generator: torch.Generator):
        self.sources, self.generator = sources, generator

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        for source, _ in self.sources:
            source.refresh(playlists, tracks)

    def draw(self, playlist: Tensor, positive: Tensor, count: int) -> Tensor:
        drawn = torch.stack([source.draw(playlist, positive, count) for source, _ in self.sources])     # (S, B, count)
        chance = torch.rand(drawn.shape[1:], generator=self.generator, device=self.generator.device)
        ends = torch.tensor([share for _, share in self.sources]).cumsum(0)[:-1]
        which = torch.bucketize(chance, ends, right=True).to(drawn.device)
        return drawn.gather(0, which.unsqueeze(0)).squeeze(0)


def pair_keys(playlist: Tensor, track: Tensor, num_tracks: int) -> Tensor:
    """Sorted p · T + t of pairs (E,): a set of pairs that `is_known` can search. P · T must stay below 2⁶³; the full
    MPD's is 2.3 · 10¹²."""
    return (playlist.long() * num_tracks + track.long()).sort().values


def is_known(keys: Tensor, playlist: Tensor, track: Tensor, num_tracks: int) -> Tensor:
    """Which of the pairs (playlist (B,), track (B, M)) stand in `keys`, (B, M) bool."""
    wanted = playlist.long().unsqueeze(1) * num_tracks + track
    if not len(keys):
        return torch.zeros_like(wanted, dtype=torch.bool)
    return keys[torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)] == wanted


def _sum(weights: Tensor) -> int:
    """Σ w of int64 weights ≥ 0, which may be more than an int64 holds: upper and lower halves are summed apart."""
    return (int((weights >> 32).sum()) << 32) + int((weights & 0xFFFFFFFF).sum())
