"""Tracks that a playlist does not hold, to be pushed away from it."""
from __future__ import annotations

import torch
from torch import Tensor


class Negatives:
    """Uniform draws among the tracks a playlist is not known to hold. Exact: no rejection, no retry.

    playlist, track: (E,) known positives;  T tracks;  `generator` makes the draws.
    Raises ValueError if a playlist holds every track, so that it has no negative at all.

    The r-th unknown track of a playlist with known tracks k_0 < k_1 < … is r + #{j : k_j − j ≤ r}, since k_j − j tracks
    below k_j are unknown. All playlists' k_j − j stand in one sorted key array, so a draw is one binary search.
    """

    def __init__(self, playlist: Tensor, track: Tensor, num_playlists: int, num_tracks: int, generator: torch.Generator):
        key = (playlist.long() * num_tracks + track.long()).sort().values
        playlist, track = key // num_tracks, key % num_tracks
        degree = torch.bincount(playlist, minlength=num_playlists)
        if int(degree.max()) >= num_tracks:
            raise ValueError(f"playlist {int(degree.argmax())} holds all {num_tracks} tracks: it has no negatives")
        self.start = degree.cumsum(0) - degree                                       # (P,)
        below = track - (torch.arange(len(track), device=track.device) - self.start[playlist])   # k_j − j
        self.key = playlist * (num_tracks + 1) + below                               # (E,) ascending
        self.unknown, self.num_tracks, self.generator = num_tracks - degree, num_tracks, generator

    def draw(self, playlist: Tensor, count: int) -> Tensor:
        """`count` independent negatives for each playlist (B,) → (B, count) track ids."""
        playlist = playlist.long().unsqueeze(1)                                      # (B, 1)
        uniform = torch.rand((len(playlist), count), generator=self.generator, dtype=torch.float64,
                             device=self.generator.device).to(playlist.device)
        r = (uniform * self.unknown[playlist]).long()                                # (B, count)
        passed = torch.searchsorted(self.key, playlist * (self.num_tracks + 1) + r, right=True)
        return r + passed - self.start[playlist]


class HardNegatives:
    """Dynamic negative sampling: of M uniform candidates the one that the model likes best.

    Zhang et al. 2013 (SIGIR), algorithm 1. `refresh` hands over the embeddings to score with; until then draws are
    uniform. Depth is set by M: with a small M the very top of the ranking, which is mostly unlabelled positives, is
    met rarely.
    """

    def __init__(self, random: Negatives, candidates: int = 16):
        self.random, self.candidates = random, candidates
        self.playlists = self.tracks = None

    def refresh(self, playlists: Tensor, tracks: Tensor) -> None:
        """Current embeddings, playlists (P, D) and tracks (T, D)."""
        self.playlists, self.tracks = playlists.detach(), tracks.detach()

    def draw(self, playlist: Tensor, count: int) -> Tensor:
        """(B,) → (B, count): each the best scored of its own M candidates."""
        if self.playlists is None:
            return self.random.draw(playlist, count)
        candidates = self.random.draw(playlist, count * self.candidates)             # (B, count·M)
        scores = torch.einsum("bd,bmd->bm", self.playlists[playlist], self.tracks[candidates])
        best = scores.view(len(playlist), count, -1).argmax(2)                       # (B, count)
        return candidates.view(len(playlist), count, -1).gather(2, best.unsqueeze(2)).squeeze(2)
