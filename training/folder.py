"""A run folder: everything one training run leaves behind, and all that is needed to evaluate or resume it.

    config.json      every setting, the versions, a fingerprint of the data, the command
    catalogue.npz    URIs, titles, and the artist and album of every track (mpd.playlists.Playlists, without entries)
    split.npz        train, val, test: (n, 2) int32 (playlist, track) indices; train_position, …: (n,) their places;
                     given_val, given_test: what cold playlists show; pids (P,), track_uris (T,): what the indices name
    features.pt      {"track": (T, F)} node features, where --features was given
    history.csv      one row an epoch
    best.pt          parameters at the best validation score (the last ones where nothing validates)
    last.pt          everything the next epoch needs: parameters, optimiser, random states, history
    metrics.json     what evaluate.py measured

The only file that knows this format. Every file is written under another name, flushed to the disk and renamed, so
that a crash or a full disk leaves the earlier file whole.
"""
from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import pickle
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO, Callable

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from common.files import whole
from mpd.playlists import Playlists
from mpd.split import Pairs, Split

ROOT = Path("runs")
PARTS = ("train", "val", "test", "given_val", "given_test")
READ_ERRORS = (OSError, ValueError, KeyError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile)


def create(folder: Path, config: dict, playlists: Playlists, split: Split, features: Tensor | None = None) -> None:
    """Start a run. config.json is written last: a folder that has one is complete.

    Raises InputError if the folder holds a run already.
    """
    if (folder / "config.json").exists():
        raise InputError(f"{folder}: holds a run already; choose another --out, or go on with --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    none = np.zeros(0, dtype=np.int32)
    catalogue = replace(playlists, playlist=none, track=none, position=none, own_test=None)
    _guarded(folder / "catalogue.npz", catalogue.save)
    arrays = {"pids": playlists.pids, "track_uris": _as_bytes(playlists.track_uris)}
    for name in PARTS:
        part = getattr(split, name)
        arrays[name] = np.stack([part.playlist, part.track], axis=1).astype(np.int32, copy=False)
        arrays[f"{name}_position"] = part.position.astype(np.int32, copy=False)
    if features is not None:
        save_checkpoint(folder / "features.pt", {"track": features})
    _write(folder / "split.npz", lambda file: np.savez(file, **arrays))
    save_json(folder / "config.json", config)


def fingerprint(playlists: Playlists) -> str:
    """A short hash of the entries and the track URIs: two runs with the same one learnt from the same data."""
    digest = hashlib.sha256()
    for array in (playlists.playlist, playlists.track, playlists.position, playlists.pids, playlists.track_uris.blob):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def fresh_folder(name: str, root: Path = ROOT) -> Path:
    """runs/<name>-<time>, with a number behind it where that is taken."""
    path = Path(root) / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return next(p for n in itertools.count(1) if not (p := path if n == 1 else Path(f"{path}-{n}")).exists())


def newest(root: Path = ROOT) -> Path:
    """The trained run that was started last. Raises InputError where there is none."""
    found = [path.parent for path in Path(root).glob("*/best.pt") if (path.parent / "config.json").exists()]
    if not found:
        raise InputError(f"{root}/: holds no trained run; train one first: python train.py")
    return max(found, key=lambda folder: (folder / "config.json").stat().st_mtime)


def load_config(folder: Path) -> dict:
    """Raises InputError if `folder` is no run."""
    path = Path(folder) / "config.json"
    if not path.exists():
        raise InputError(f"{folder}: no run here (config.json is missing); `ls {ROOT}` shows the runs there are")
    config = load_json(path)
    if not isinstance(config, dict) or not {"model", "node_types", "score"} <= set(config.get("settings") or ()):
        raise InputError(f"{path}: damaged (its settings are not whole); restore it from a copy, or train again")
    return config


def load_json(path: Path):
    try:
        return json.loads(Path(path).read_text())
    except READ_ERRORS as error:
        raise InputError(f"{path}: damaged ({error}); delete it, or train again") from error


def save_json(path: Path, value) -> None:
    text = json.dumps(value, indent=1).encode()
    _write(path, lambda file: file.write(text))


def load_catalogue(folder: Path) -> Playlists:
    return Playlists.load(Path(folder) / "catalogue.npz")


def load_features(folder: Path) -> dict[str, Tensor] | None:
    """{type: (N_t, F)} node features of a run, None where it has none."""
    path = Path(folder) / "features.pt"
    return load_checkpoint(path) if path.exists() else None


def load_split(folder: Path, parts: tuple[str, ...]) -> Split:
    """Only the `parts` asked for are read from the file; the others are None, so that they cannot be looked at."""
    path, read, name = Path(folder) / "split.npz", {}, parts[0]
    try:
        with np.load(path, allow_pickle=False) as data:
            for name in parts:
                playlist, track = data[name].T
                read[name] = Pairs(playlist.copy(), track.copy(), data[f"{name}_position"])
    except READ_ERRORS as error:
        raise InputError(f"{path}: part {name!r} cannot be read ({error}); train again") from error
    return Split(**{name: read.get(name) for name in PARTS})


def save_checkpoint(path: Path, state: dict) -> None:
    """Tensors and plain Python values. Raises InputError when the disk is full; the earlier file stays whole."""
    def fill(file: IO[bytes]) -> None:
        patient = _Patient(file)
        torch.save(state, patient)
        if patient.error is not None:
            raise patient.error
    _write(path, fill)


def load_checkpoint(path: Path, device="cpu") -> dict:
    """Raises InputError if the file is missing or damaged."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: missing; this run saved no checkpoint: train it again")
    try:
        with zipfile.ZipFile(path) as archive:              # torch reads on over a flipped bit; the checksums do not
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a checksum is wrong")
        return torch.load(path, map_location=device, weights_only=True)
    except READ_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: damaged checkpoint ({reason[:80]}); restore it from a copy, or delete the file "
                         f"and train again") from error


def save_history(folder: Path, rows: list[dict]) -> None:
    """One row an epoch, the columns of the first row."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    _write(Path(folder) / "history.csv", lambda file: file.write(text.getvalue().encode()))


def load_history(folder: Path) -> list[dict]:
    """One row an epoch, the numbers of history.csv by column. Raises InputError if there is none, or it is damaged."""
    path = Path(folder) / "history.csv"
    load_config(folder)                                             # says so if this is no run at all
    if not path.exists():
        raise InputError(f"{path}: missing; this run finished no epoch: go on with train.py --resume {folder}")
    try:
        with open(path, newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (*READ_ERRORS, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); go on with train.py --resume {folder}, which writes it "
                         f"again") from error
    if not rows:
        raise InputError(f"{path}: has no epochs yet; go on with train.py --resume {folder}")
    return rows


def _as_bytes(strings) -> np.ndarray:
    return np.array([s.encode("utf-8", "surrogatepass") for s in strings] or np.zeros(0, "S1"), dtype=np.bytes_)


class _Patient:
    """A file for torch.save that keeps the first error for later and then takes every byte without writing it: an
    exception on the way through torch's own code becomes another one, which says nothing of a full disk."""

    def __init__(self, file: IO[bytes]):
        self.file, self.error = file, None

    def write(self, data) -> int:
        try:
            if self.error is None:
                self.file.write(data)
        except BaseException as error:                      # Ctrl-C too
            self.error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """torch.save asks for it at the end; closing the file does it."""


def _write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """`fill` writes the file's content piece by piece, so that it is nowhere in memory as a whole."""
    def save(final: Path) -> None:
        with whole(final, "wb") as file:
            fill(file)
    _guarded(path, save)


def _guarded(path: Path, save) -> None:
    try:
        save(path)
    except OSError as error:
        go_on = f"go on with --resume {path.parent}" if (path.parent / "config.json").exists() else "start again"
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); what was saved before is intact: "
                         f"make room, then {go_on}") from error
