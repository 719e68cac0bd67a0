"""The k-core of the playlist–track graph: the largest part in which every node keeps at least k entries.

Seidman, Network structure and minimum degree, Social Networks 5 (1983). The order of removal does not matter.
"""

import numpy as np

from common.errors import InputError
from mpd.playlists import Playlists


def k_core(playlists: Playlists, k: int) -> Playlists:
    """The table in which each playlist has at least k tracks, and each track is in at least k playlists.

    Artists and albums stay as long as one of their tracks does; held-out pairs stay if both their ends do.
    k <= 1 asks for nothing and returns the same table. Raises InputError if nothing is left, naming the
    largest k that leaves something."""
    if k <= 1:
        return playlists
    playlist, track = _peel(playlists.playlist, playlists.track, k)
    if not len(playlist):
        largest = _largest_k(playlists.playlist, playlists.track)
        raise InputError(f"k-core: k = {k} removes every playlist and every track; the largest k that keeps "
                         f"something of these data is {largest}")
    playlists_mask = np.bincount(playlist, minlength=playlists.num_playlists) > 0
    tracks_mask = np.bincount(track, minlength=playlists.num_tracks) > 0
    return playlists.select(playlists_mask, tracks_mask)


def _peel(playlist: np.ndarray, track: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The entries of the k-core: all nodes of degree below k are removed at once, until there is none."""
    while len(playlist):
        keep = (np.bincount(playlist) >= k)[playlist] & (np.bincount(track) >= k)[track]
        if keep.all():
            break
        playlist, track = playlist[keep], track[keep]
    return playlist, track


def _largest_k(playlist: np.ndarray, track: np.ndarray) -> int:
    """The largest k whose core is not empty (the degeneracy of the graph), by bisection: cores are nested."""
    if not len(playlist):
        return 0
    low, high = 1, min(np.bincount(playlist).max(), np.bincount(track).max()) + 1  # empty at `high`
    while high - low > 1:
        middle = (low + high) // 2
        if len(_peel(playlist, track, middle)[0]):
            low = middle
        else:
            high = middle
    return int(low)
