"""training/folder.py: large files of a run are written as they are made, whole or not at all."""
import errno
import io
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import training.folder
from common.errors import InputError
from helpers import peak_of
from mpd.split import NO_PAIRS, Pairs, Split
from training.folder import create, load_checkpoint, load_split, save_checkpoint

LARGE = 32 << 20                                            # bytes of a table


def test_a_checkpoint_is_never_in_memory_as_a_whole():
    state = {"net": {f"table{i}": torch.ones(LARGE // 4) for i in range(3)}, "epoch": 3}
    assert peak_of(lambda: save_checkpoint(Path("last.pt"), state)) < 10e6
    assert Path("last.pt").stat().st_size > 3 * LARGE
    read = load_checkpoint(Path("last.pt"))
    assert read["epoch"] == 3 and all(torch.equal(read["net"][name], table) for name, table in state["net"].items())


def test_the_bytes_are_those_of_torch_save():
    state = {"net": {"w": torch.randn(40, 7)}, "best": 0.25, "history": [{"epoch": 1}], "mined": None}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    save_checkpoint(Path("last.pt"), state)
    assert Path("last.pt").read_bytes() == buffer.getvalue()


def test_a_split_is_never_in_memory_as_a_whole(planted):
    playlists, many = planted[0], LARGE // 4
    train = Pairs(*(np.zeros(many, dtype=np.int32) for _ in range(3)))
    split = Split(train, NO_PAIRS, NO_PAIRS)
    assert peak_of(lambda: create(Path("run"), {}, playlists, split)) < 2 * LARGE + 25e6    # the pairs, stacked
    assert Path("run/split.npz").stat().st_size > 3 * LARGE
    assert load_split(Path("run"), ("train",)).train.size == many


class Full:
    """A file that takes so many bytes, and then says that the disk is full."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 100, 5_000, 150_000, 280_000])
def test_a_full_disk_is_said_at_any_byte(room, monkeypatch):
    """Before the first table, within one, between two, and in the directory at the end: the earlier file stays."""
    state = {"net": {f"table{i}": torch.ones(100_000) for i in range(3)}}
    save_checkpoint(Path("last.pt"), {"epoch": 1})
    before, whole = Path("last.pt").read_bytes(), training.folder.whole

    @contextmanager
    def full(path, mode):
        with whole(path, mode) as file:
            yield Full(file, room * 4)
    monkeypatch.setattr(training.folder, "whole", full)
    with pytest.raises(InputError, match=r"last.pt: cannot be written \(No space left on device\)"):
        save_checkpoint(Path("last.pt"), state)
    assert Path("last.pt").read_bytes() == before and [p.name for p in Path().iterdir()] == ["last.pt"]


def test_an_interrupt_while_writing_is_one(monkeypatch):
    class Interrupted(Full):
        def write(self, data):
            raise KeyboardInterrupt
    whole = training.folder.whole

    @contextmanager
    def interrupted(path, mode):
        with whole(path, mode) as file:
            yield Interrupted(file, 0)
    monkeypatch.setattr(training.folder, "whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(Path("last.pt"), {"epoch": 1})
    assert not list(Path().iterdir())


def test_what_cannot_be_saved_is_no_full_disk():
    with pytest.raises(Exception) as error:
        save_checkpoint(Path("last.pt"), {"net": lambda: None})
    assert not isinstance(error.value, InputError) and not list(Path().iterdir())
