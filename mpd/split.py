"""Which pairs are learnt from, which choose the model, and which are only ever scored.

The one home of the leak rule: the message graph is built from `train` alone, so a held-out pair is missing in both
directions and from every degree. A cold playlist's `given` tracks are shown at evaluation, never during training.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from mpd.playlists import Playlists, in_order, places

COLD_GIVEN = 3                  # tracks that a cold playlist shows before the rest must be guessed


class Pairs(NamedTuple):
    """(playlist, track) pairs with the track's place in its playlist: three (n,) int32 arrays."""
    playlist: np.ndarray
    track: np.ndarray
    position: np.ndarray

    def __getitem__(self, which) -> Pairs:
        return Pairs(*(column[which] for column in tuple(self)))

    @property
    def size(self) -> int:
        return self.playlist.size


NO_PAIRS = Pairs(*(np.zeros(0, dtype=np.int32) for _ in range(3)))


def joined(*parts: Pairs) -> Pairs:
    """The pairs of all parts, one part after the other."""
    return Pairs(*map(np.concatenate, zip(*map(tuple, parts))))


@dataclass
class Split:
    """train, val and test pairs; `given_val`, `given_test`: what cold playlists show. None: a part left unopened."""
    train: Pairs
    val: Pairs | None
    test: Pairs | None
    given_val: Pairs | None = NO_PAIRS
    given_test: Pairs | None = NO_PAIRS

    def refit(self) -> Split:
        """The same test part, and all else to learn from: for the last training, when validation has chosen its settings."""
        train = joined(self.train, self.given_val, self.val)
        return Split(train[in_order(train.playlist, train.position)], NO_PAIRS, self.test, NO_PAIRS, self.given_test)


def make_split(playlists: Playlists, by: str = "random", shares=(0.8, 0.1, 0.1), seed: int = 0) -> Split:
    """Divide the entries of `playlists`.

    by="random"  every entry independently, by `seed`
    by="last"    every playlist in its own order: its first part is train, the end of it test, val between them
    by="cold"    whole playlists; one that is held out shows its first three tracks and hides the rest
    Data with a test part of their own keep it: `shares` then divides only the training part, test share ignored.
    Raises InputError for shares that are negative, do not sum to 1, or leave nothing to train on.
    """
    shares = np.asarray(shares, dtype=np.float64)
    if shares.shape != (3,) or not ((shares >= 0).all() and abs(shares.sum() - 1) <= 1e-6):
        raise InputError(f"--split {' '.join(f'{s:g}' for s in shares)}: three shares TRAIN VAL TEST of at least 0 "
                         f"that sum to 1 are needed, as in 0.8 0.1 0.1")
    entries = Pairs(playlists.playlist, playlists.track, playlists.position)
    rng = np.random.default_rng(seed)
    own_test = playlists.own_test
    if own_test is not None:
        if by == "cold":
            raise InputError("--split-by cold: these data bring a test part of their own, of playlists that are in "
                             "training; use random or last")
        test = Pairs(own_test[0], own_test[1], np.zeros(own_test.shape[1], dtype=np.int32))
        shares = np.array([shares[0], shares[1], 0]) / max(shares[0] + shares[1], 1e-9)
    split = {"random": _random, "last": _last, "cold": _cold}[by](entries, shares, rng, playlists.num_playlists)
    if own_test is not None:
        split.test = test
    if split.train.size == 0:
        raise InputError(f"--split {' '.join(f'{s:g}' for s in shares)} of {entries.size} entries leaves nothing to "
                         f"train on; give TRAIN a larger share")
    return split


def _random(entries: Pairs, shares, rng, num_playlists: int) -> Split:
    order = rng.permutation(entries.size)
    first, second = np.rint(np.cumsum(shares)[:2] * entries.size).astype(np.int64)
    part = np.empty(entries.size, dtype=np.int8)
    for i, chosen in enumerate(np.split(order, [first, second])):
        part[chosen] = i
    return Split(*(entries[part == i] for i in range(3)))                   # each in the order of the entries


def _last(entries: Pairs, shares, rng, num_playlists: int) -> Split:
    entries = entries[in_order(entries.playlist, entries.position)]
    length = np.bincount(entries.playlist, minlength=num_playlists)
    place = places(length)
    first, second = (np.maximum(np.rint(c * length), 1)[entries.playlist] for c in np.cumsum(shares)[:2])
    return Split(entries[place < first], entries[(place >= first) & (place < second)], entries[place >= second])


def _cold(entries: Pairs, shares, rng, num_playlists: int) -> Split:
    entries = entries[in_order(entries.playlist, entries.position)]
    length = np.bincount(entries.playlist, minlength=num_playlists)
    part = np.searchsorted(np.cumsum(shares)[:2], rng.random(num_playlists), side="right")   # 0 train, 1 val, 2 test
    part[length <= 1] = 0                                             # nothing to hide behind a single track
    place = places(length)
    given = place < np.minimum(COLD_GIVEN, length - 1)[entries.playlist]
    of = part[entries.playlist]
    return Split(entries[of == 0], entries[(of == 1) & ~given], entries[(of == 2) & ~given],
                 entries[(of == 1) & given], entries[(of == 2) & given])
