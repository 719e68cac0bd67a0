"""What several test files share."""
import os
import tracemalloc
from pathlib import Path

import pytest
import torch

import train
from training.folder import load_checkpoint, load_split
from training.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MPD_SHARED", ROOT / ".." / "shared" / "data"))       # real playlists, where there are any
QUICK = ["--dim", "16", "--batch-size", "512", "--device", "cpu"]


def shared(name):
    """The path of a real data set, and a mark that skips the test where it is not there."""
    path = SHARED / name
    return path, pytest.mark.skipif(not path.exists(), reason=f"{name} is not here")


def quick(slices, *flags):
    """Train on the slices, small and fast, by flags."""
    return train.main(["--data", str(slices), *QUICK, *flags])


def by_hand(slices, **settings):
    """The same by settings, which have names for more than there are flags."""
    return train.main(settings=Settings(data=slices, **{"dim": 16, "batch_size": 512, "device": "cpu"} | settings))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def holds(run, *parts):
    """{playlist: set of tracks} of some parts of a run's split."""
    split, found = load_split(run, parts), {}
    for part in parts:
        for p, t in zip(getattr(split, part).playlist.tolist(), getattr(split, part).track.tolist()):
            found.setdefault(p, set()).add(t)
    return found


def peak_of(function):
    """The most bytes that Python and numpy held at once during a call, beyond what they held before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def parameters(path):
    return load_checkpoint(path)["net"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
