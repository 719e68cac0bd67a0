"""A small planted MPD and runs trained on it, shared by all tests, and the fixtures of services.py and scored.py."""
import os

# The test graphs are too small for two threads, and a second may wait for its core. Read when numpy and torch load.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import pytest  # noqa: E402

import train  # noqa: E402
from helpers import quick  # noqa: E402
from mpd.planted import Sizes  # noqa: E402
from mpd.synthetic import plant  # noqa: E402
from mpd.writer import write_slices  # noqa: E402
from recommending import Recommender  # noqa: E402
from scored import case  # noqa: E402, F401
from services import ask, server, slept  # noqa: E402, F401


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


@pytest.fixture(scope="session")
def continued(slices, tmp_path_factory):
    """A run by hidden ends, so that the order of the songs counts, with three layers."""
    out = tmp_path_factory.mktemp("runs") / "last"
    return quick(slices, "--split-by", "last", "--layers", "3", "--epochs", "4", "--out", str(out))


@pytest.fixture(scope="session")
def music(trained):
    """The recommender of the LightGCN run."""
    return Recommender.load(trained)
