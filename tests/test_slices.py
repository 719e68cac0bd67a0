"""mpd/slices.py: which slices are read and in what order, by how many processes, and the cache."""

import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
import zipfile

import pytest

import mpd.slices
from helpers import ROOT, shared
from mpd.merge import Merger
from slice_files import entry, message, playlist, random_slices, read, write, zipped

POLIMI, needs_polimi = shared("polimi-mpd.zip")


# ---- what is read, and by whom

def test_same_table_however_it_is_read(tmp_path):
    folder = random_slices(tmp_path / "slices")
    table = read(folder)
    assert read(folder, workers=1) == table
    assert read(folder, workers=2) == table
    assert read(zipped(folder, tmp_path / "all.zip"), workers=2) == table
    assert read(zipped(folder, tmp_path / "all.zip")) == table
    nested = tmp_path / "nested" / "data"
    nested.parent.mkdir()
    folder.rename(nested)
    assert read(nested.parent) == table


def test_parts_wait_for_a_slow_reader(tmp_path, monkeypatch):
    folder, add = random_slices(tmp_path, slices=12), Merger.add
    write(folder, 12000, playlist(12000, *(entry(i, f"t{i}" * 20) for i in range(2000))))  # more than a pipe holds
    table = read(folder)
    monkeypatch.setattr(Merger, "add", lambda *arguments: (time.sleep(0.05), add(*arguments)))
    assert read(folder, workers=2) == table
    assert not multiprocessing.active_children()


def test_processes_end_where_reading_ends_early(tmp_path):
    folder = random_slices(tmp_path, slices=12)
    bad = write(folder, 1000, playlist(1000))
    assert message(lambda: read(folder, workers=3)).startswith(f"{bad}: playlist 1000: tracks is empty")
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_told_of(tmp_path, monkeypatch):
    folder, parent = random_slices(tmp_path), os.getpid()

    def die(*arguments):
        assert os.getpid() != parent
        os.kill(os.getpid(), 9)

    def die_in_the_middle(part, writer, protocol):
        writer.write(pickle.dumps(part, protocol)[:-9])
        writer.flush()
        die()

    for module, name, death in ((pickle, "dump", die_in_the_middle), (mpd.slices, "read_slice", die)):
        monkeypatch.setattr(module, name, death)
        text = message(lambda: read(folder, workers=2))
        assert text.startswith(f"{folder / 'mpd.slice.0-999.json'}: a parsing process died") and "--slices" in text
        assert not multiprocessing.active_children()


def test_processes_do_not_outlive_the_reader(tmp_path):
    long = [entry(i, f"t{i}" * 20) for i in range(2000)]  # more than a pipe holds
    for first in range(0, 4000, 1000):
        write(tmp_path, first, playlist(first, *long))
    code = ("import os, sys, mpd.slices as s; from pathlib import Path; "
            "next(s._parts(s.find_slices(Path(sys.argv[1])), False, 2)); os.kill(os.getpid(), 9)")
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, timeout=20,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # waits until nobody holds the pipe
    assert killed.returncode == -9 and killed.stdout == b""


def test_one_file_and_ismpd(tmp_path):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")))
    table = read(path)
    assert table.num_tracks == 1
    assert read(path.rename(tmp_path / "ismpd.json")) == table == read(tmp_path)


def test_order_is_numeric(tmp_path):
    for first in (10000, 2000, 0):
        write(tmp_path, first, playlist(first, entry(0, f"t{first}")))
    assert read(tmp_path).pids.tolist() == [0, 2000, 10000]
    assert read(tmp_path, slices=2).pids.tolist() == [0, 2000]
    assert read(zipped(tmp_path, tmp_path / "z.zip"), slices=2).pids.tolist() == [0, 2000]


@needs_polimi
def test_polimi():
    table = read(POLIMI, workers=None)
    assert (table.num_playlists, table.num_tracks, len(table.track)) == (5000, 13536, 115553)


def test_missing_and_empty(tmp_path):
    assert "no such file" in message(lambda: read(tmp_path / "nowhere"))
    assert "no slice in it" in message(lambda: read(tmp_path))
    (tmp_path / "other.txt").write_text("x")
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("x.txt", "x")
    assert message(lambda: read(archive)).startswith(f"{archive}: no slice in it")
    archive.write_bytes(b"PK no zip")
    assert message(lambda: read(archive)).startswith(f"{archive}: cannot be read as a zip")
    assert "no playlist" in message(lambda: read(write(tmp_path, 0)))
    assert "--slices 0" in message(lambda: read(tmp_path, slices=0))


# ---- the cache

@pytest.fixture
def parsed(monkeypatch):
    """A list that grows by one with each slice that is parsed."""
    calls, original = [], mpd.slices.read_slice
    monkeypatch.setattr(mpd.slices, "read_slice",
                        lambda source, *rest: calls.append(source) or original(source, *rest))
    return calls


def test_cache_hit_and_what_misses(tmp_path, parsed):
    path = write(tmp_path / "slices", 0, playlist(0, entry(0, "t")))
    write(path.parent, 1000, playlist(1000, entry(0, "t")))
    cache = tmp_path / "cache"
    first = read(path.parent, cache=cache)
    assert len(parsed) == 2 and len(list(cache.iterdir())) == 1
    assert read(path.parent, cache=cache) == first and len(parsed) == 2
    read(path.parent, cache=cache, slices=1)
    assert len(parsed) == 3
    read(path.parent, cache=cache, skip_bad=True)
    assert len(parsed) == 5
    os.utime(path, ns=(0, 12345))
    read(path.parent, cache=cache)
    assert len(parsed) == 7
    path.unlink()
    assert read(path.parent, cache=cache).num_playlists == 1


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"no npz", lambda b: b[:len(b) // 2],
                                    lambda b: b[:300] + bytes(99) + b[399:]])
def test_damaged_cache_is_parsed_again(tmp_path, parsed, caplog, damage):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")))
    table = read(path, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert read(path, cache=tmp_path / "cache") == table
    assert len(parsed) == 2 and len(caplog.messages) == 1 and "\n" not in caplog.messages[0]
    assert read(path, cache=tmp_path / "cache") == table and len(parsed) == 2


def test_unwritable_cache_is_no_error(tmp_path, caplog):
    path = write(tmp_path, 0, playlist(0, entry(0, "t")))
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert read(path, cache=tmp_path / "cache").num_playlists == 1
    assert len(caplog.messages) == 1
