"""Playlists in, one table out: `load` takes any kind of data this project reads."""

import os

from mpd.interactions import is_interactions, read_interactions
from mpd.playlists import Playlists
from mpd.slices import read_slices
from mpd.synthetic import synthetic_mpd


def load(path: str | os.PathLike | None = None, slices: int | None = None, skip_bad: bool = False,
         cache: str | os.PathLike | None = "data/cache") -> Playlists:
    """Read playlists into one table, whatever kind of data `path` is.

    None                              the synthetic MPD, generated at first use; the table's note says so
    a folder or .zip with train.txt   interactions with their own split (`read_interactions`)
    anything else                     MPD slices (`read_slices`, which explains the other arguments)

    Raises InputError for data that are missing, unreadable or malformed."""
    if path is None:
        path = synthetic_mpd()
    if is_interactions(path):
        return read_interactions(path)
    return read_slices(path, slices=slices, skip_bad=skip_bad, cache=cache)
