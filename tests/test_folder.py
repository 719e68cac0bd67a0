"""training/folder.py and training/trained.py: what a run folder holds, and what happens when it is damaged."""
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from common.errors import InputError
from training.folder import newest

from helpers import quick


def test_split_file_names_its_indices(trained, planted):
    playlists, _ = planted
    with np.load(trained / "split.npz") as data:
        train_pairs, uris = data["train"], data["track_uris"]
    known = set(zip(playlists.playlist.tolist(), (playlists.track_uris[t] for t in playlists.track)))
    assert all((p, uris[t].decode()) in known for p, t in train_pairs[:200].tolist())


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"not a checkpoint", lambda b: b"",
                                    lambda b: b[:9000] + bytes([b[9000] ^ 64]) + b[9001:]])
def test_damaged_checkpoint(trained, damage):
    shutil.copytree(trained, "copy")
    best = Path("copy/best.pt")
    best.write_bytes(damage(best.read_bytes()))
    with pytest.raises(InputError, match="best.pt: damaged checkpoint"):
        evaluate.main(["--run", "copy"])


@pytest.mark.parametrize("name, content", [("split.npz", b"PK"), ("split.npz", None), ("config.json", b"[]"),
                                           ("config.json", b"{"), ("catalogue.npz", b"x")])
def test_damaged_run_files(trained, name, content):
    shutil.copytree(trained, "copy")
    Path("copy", name).unlink() if content is None else Path("copy", name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        evaluate.main(["--run", "copy"])
    with pytest.raises(InputError, match=name):
        train.main(["--resume", "copy", "--epochs", "20"])


def test_a_checkpoint_of_another_run(trained, slices):
    other = quick(slices, "--dim", "8", "--epochs", "1")
    shutil.copytree(trained, "copy")
    shutil.copy(other / "best.pt", "copy/best.pt")
    shutil.copy(other / "best.pt", "copy/last.pt")
    with pytest.raises(InputError, match="best.pt: not of this run"):
        evaluate.main(["--run", "copy"])
    with pytest.raises(InputError, match="not a checkpoint of this run"):
        train.main(["--resume", "copy", "--epochs", "20"])


def test_the_newest_run_is_the_one_started_last(slices, trained):
    first, second = quick(slices, "--epochs", "1"), quick(slices, "--epochs", "1")
    assert first != second
    os.utime(first / "config.json", (1, 1))
    evaluate.main(["--run", str(first), "--k", "5"])                   # measuring a run makes it no newer
    assert newest() == second


def test_a_run_is_never_overwritten(trained, slices):
    before = (trained / "best.pt").read_bytes()
    with pytest.raises(InputError, match="holds a run already"):
        quick(slices, "--out", str(trained))
    assert (trained / "best.pt").read_bytes() == before


def test_a_full_disk_leaves_the_earlier_checkpoint_whole(slices):
    """A limit on file size stands in for the disk that fills up while the checkpoint grows. Python ignores the signal
    that comes with it, so that writing fails."""
    out = quick(slices, "--epochs", "1", "--out", "full")
    before = {f.name: f.read_bytes() for f in out.iterdir()}
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(InputError, match="full.*cannot be written") as error:
            train.main(["--resume", "full", "--epochs", "3"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(error.value)
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
