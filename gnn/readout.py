"""From node embeddings to the two tables whose dot products are the scores."""
from __future__ import annotations

import torch
from torch import Tensor


def fold_in(tracks: Tensor, playlist: Tensor, track: Tensor, num_playlists: int) -> Tensor:
    """Playlists never seen in training, as the mean of the propagated embeddings of the tracks they show.

    tracks (T, D); playlist, track (n,) the shown pairs → (num_playlists, D), zeros for a playlist that shows none.
    """
    total = torch.zeros(num_playlists, tracks.shape[1], dtype=tracks.dtype, device=tracks.device)
    total.index_add_(0, playlist, tracks[track])
    return total / torch.bincount(playlist, minlength=num_playlists).clamp(min=1).unsqueeze(1)


def score_tables(z: dict[str, Tensor], given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings → playlists (P, D) and tracks (T, D) whose dot product is the score.

    Playlists that show tracks in `given` (playlist (n,), track (n,)) without having been trained on are folded in.
    """
    playlists, tracks = z["playlist"], z["track"]
    if given[0].numel():
        playlist, track = (ids.to(tracks.device) for ids in given)
        playlists = playlists.clone()
        cold = playlist.unique()
        playlists[cold] = fold_in(tracks, playlist, track, len(playlists))[cold]
    return playlists, tracks
