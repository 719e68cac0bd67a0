"""The RecSys 2018 challenge: its file of incomplete playlists, and the submission it asks for.

    challenge_set.json   {"date", "version", "playlists": [{"pid", "name"?, "num_holdouts", "num_samples", "num_tracks",
                         "tracks": [entry, …]}, …]}
    submission.csv[.gz]  team_info,<team>,<main|creative>,<email>
                         <pid>, <uri 1>, …, <uri 500>        one line a playlist; # and blank lines do not count
"""
from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from pathlib import Path
from typing import Iterable, NamedTuple

from common.errors import InputError, one_line
from common.files import replaced

TRACKS = 500                                            # that every line of a submission must name
URI = re.compile(r"spotify:track:[0-9A-Za-z]{22}")
TRACK_NAMES = ("main", "creative")                      # of the challenge's two tracks
UNREADABLE = (OSError, EOFError, zlib.error)            # what a damaged file raises, gzipped or not


class Task(NamedTuple):
    """A playlist to continue: its title, "" where it has none, and its known tracks' URIs in order, maybe none."""
    pid: int
    title: str
    tracks: list[str]


def read_challenge(path: str | os.PathLike) -> list[Task]:
    """Raises InputError for a file that is missing, is no JSON, or has a playlist without pid or track URIs."""
    path = Path(path)
    try:
        with _open(path, "rb") as file:
            data = json.loads(file.read())
    except (*UNREADABLE, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as a challenge set ({one_line(error)}); the challenge's file is "
                         f"challenge_set.json") from error
    playlists = data.get("playlists") if isinstance(data, dict) else None
    if not isinstance(playlists, list) or not playlists:
        raise InputError(f"{path}: holds no list \"playlists\"; the challenge's file is challenge_set.json")
    tasks, seen = [], set()
    for place, playlist in enumerate(playlists):
        where = f"{path}: playlist {place}"
        if not isinstance(playlist, dict) or type(playlist.get("pid")) is not int or playlist["pid"] < 0:
            raise InputError(f"{where}: has no whole number \"pid\" from 0; restore the file")
        if playlist["pid"] in seen:
            raise InputError(f"{where}: pid {playlist['pid']} a second time; restore the file")
        seen.add(playlist["pid"])
        title, entries = playlist.get("name", ""), playlist.get("tracks", [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) and isinstance(e.get("track_uri"), str)
                                                    and type(e.get("pos", 0)) is int for e in entries):
            raise InputError(f"{where} (pid {playlist['pid']}): \"tracks\" must be a list of entries with a "
                             f"\"track_uri\" and a whole number \"pos\"; restore the file")
        tasks.append(Task(playlist["pid"], title if isinstance(title, str) else "",
                          [e["track_uri"] for e in sorted(entries, key=lambda e: e.get("pos", 0))]))
    return tasks


def write_submission(path: str | os.PathLike, lines: Iterable[tuple[int, list[str]]], team: str, email: str,
                     track: str = "main") -> None:
    """Write (pid, 500 URIs) lines, gzipped where the name ends in .gz; the file gets its name once it is whole.

    Raises InputError for a team or an e-mail address that the challenge would refuse."""
    wrong = _header(f"team_info,{team.strip()},{track},{email}".split(","))
    if wrong or "\n" in team + email:
        raise InputError(f"--team {team!r} --email {email!r}: {(wrong or ['must be one line'])[0]}")
    with replaced(path) as file:
        file.write(f"team_info,{team},{track},{email}\n\n")
        for pid, uris in lines:
            file.write(f"{pid}, {', '.join(uris)}\n")


def check_submission(path: str | os.PathLike, tasks: list[Task], at_most: int = 20) -> list[str]:
    """What is wrong with a submission, line by line; an empty list: it keeps every rule of the challenge. Stops after
    `at_most` findings. Raises InputError if the file cannot be read."""
    given = {task.pid: set(task.tracks) for task in tasks}
    seen, wrong, header = set(), [], False
    try:
        with _open(Path(path), "rt") as file:
            for number, line in enumerate(file, 1):
                line = line.strip()
                if not line or line.startswith("#"):
                    continue
                fields = [field.strip() for field in line.split(",")]
                if not header:
                    header = True
                    wrong += [f"line {number}: {what}" for what in _header(fields)]
                else:
                    wrong += [f"line {number}: {what}" for what in _row(fields, given, seen)]
                if len(wrong) >= at_most:
                    return wrong[:at_most]
    except (*UNREADABLE, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a submission ({one_line(error)}); give a .csv or "
                         f".csv.gz") from error
    if not header:
        wrong.append("line 1: the file is empty; it must begin with team_info")
    absent = [pid for pid in given if pid not in seen]
    if absent:
        wrong.append(f"the end: {len(absent)} playlists have no line, the first is pid {absent[0]}")
    return wrong


def _header(fields: list[str]) -> list[str]:
    if fields[0] != "team_info":
        return ["the first line must be team_info,<team>,<main|creative>,<email>"]
    if len(fields) != 4:
        return [f"team_info has {len(fields) - 1} values, must have 3: team, main or creative, e-mail"]
    wrong = [] if fields[1] else ["team_info names no team"]
    wrong += [] if fields[2] in TRACK_NAMES else [f"team_info: {fields[2]!r} must be main or creative"]
    address = re.fullmatch(r"[^@\s]+@[^@\s]+", fields[3])
    return wrong + ([] if address else [f"team_info: {fields[3]!r} is no e-mail address"])


def _row(fields: list[str], given: dict[int, set[str]], seen: set[int]) -> list[str]:
    """What is wrong with one playlist's line; its pid is added to `seen`."""
    if not re.fullmatch(r"[0-9]{1,18}", fields[0]):
        return [f"{fields[0][:40]!r} is no pid"]
    pid, uris = int(fields[0]), fields[1:]
    if pid not in given:
        return [f"pid {pid} is not in the challenge set"]
    wrong = [f"pid {pid} a second time"] if pid in seen else []
    seen.add(pid)
    if len(uris) != TRACKS:
        wrong.append(f"pid {pid} has {len(uris)} tracks, must have {TRACKS}")
    if len(set(uris)) != len(uris):
        twice = next(uri for i, uri in enumerate(uris) if uri in uris[:i])
        wrong.append(f"pid {pid} names {twice[:60]} twice")
    bad = next((uri for uri in uris if not URI.fullmatch(uri)), None)
    if bad is not None:
        wrong.append(f"pid {pid}: {bad[:60]!r} is no track URI")
    known = next((uri for uri in uris if uri in given[pid]), None)
    if known is not None:
        wrong.append(f"pid {pid} recommends {known}, which the playlist shows")
    return wrong


def _open(path: Path, mode: str):
    return gzip.open(path, mode) if path.suffix == ".gz" else open(path, mode)
