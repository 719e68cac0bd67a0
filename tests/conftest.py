"""A small planted MPD and a run trained on it, shared by all tests."""
import os
from pathlib import Path

import pytest
import torch

import train
from mpd.planted import Sizes
from mpd.synthetic import plant
from mpd.writer import write_slices

SHARED = Path(os.environ.get("MPD_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"


torch.set_num_threads(1)        # the test graphs are too small for two, and a second thread may wait for its core


@pytest.fixture(scope="session")
def planted():
    """(Playlists, Planted): 300 playlists over about 900 tracks."""
    return plant(num_playlists=300, seed=1, sizes=Sizes(tracks=900, artists=120, albums=240))


@pytest.fixture(scope="session")
def slices(planted, tmp_path_factory):
    """The planted playlists as a folder of MPD slices."""
    folder = tmp_path_factory.mktemp("mpd")
    write_slices(folder, *planted)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test works in an empty folder: data/ and runs/ are made there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def trained(slices, tmp_path_factory):
    """A LightGCN run of a few epochs."""
    out = tmp_path_factory.mktemp("runs") / "trained"
    return train.main(["--data", str(slices), "--epochs", "8", "--dim", "16", "--batch-size", "512", "--out", str(out)])


def shared(name):
    """The path of a real data set, and a mark that skips the test where it is not there."""
    path = SHARED / name
    return path, pytest.mark.skipif(not path.exists(), reason=f"{name} is not here")
