"""Fetch audio features of the tracks of a data set, for `train.py --features`.

    python fetch_audio_features.py --source reccobeats --data mpd/data --slices 50 --dry-run    how much there is to ask
    python fetch_audio_features.py --source reccobeats --data mpd/data --slices 50              no key needed
    python fetch_audio_features.py --source sqlite --sqlite tracks.db --data mpd/data           a dump, no network

It may be stopped at any moment, by kill -9 too: the same command goes on and asks for nothing that was answered.

    main ── work_list        the tracks to ask for, those of the k-core first
      │  └─ Store            what was answered so far                    audio/store.py
      └─ fetch
           └─ for every batch
                ├─ ask       Spotify, ReccoBeats or Sqlite                 audio/sources.py
                └─ append    every track of the batch, with what became of it
"""
from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

import mpd
from audio.sources import (ATTEMPTS, RECCOBEATS_API, SOURCES, SPOTIFY_API, SPOTIFY_TOKEN, TRACK_URI, Http, ReccoBeats,
                           Refused, Spotify, Sqlite, Unanswered, make_source)
from audio.store import DENIED, FOUND, MISSING, RETRY, Record, Store
from common import cli
from common.errors import InputError
from mpd.kcore import k_core
from mpd.playlists import Playlists
from mpd.synthetic import NOTE

GIVE_UP = 3                 # batches without an answer, one after the other, that end the run


# ---- the work

def work_list(playlists: Playlists, core: int) -> tuple[list[str], int]:
    """The URIs of a table's tracks, those of the k-core first, then by falling number of entries, ties in the table's
    order; and how many are of the k-core. Raises InputError if the table has no track of Spotify."""
    kept = k_core(playlists, core)
    inside = np.ones(playlists.num_tracks, bool)
    if kept is not playlists:
        members = set(kept.track_uris)
        inside = np.fromiter((uri in members for uri in playlists.track_uris), bool, playlists.num_tracks)
    spotify = np.fromiter((TRACK_URI.fullmatch(uri) is not None for uri in playlists.track_uris), bool, len(inside))
    if not spotify.any():
        raise InputError("--data: no track has a URI of the form spotify:track:<22 characters>, so that no source can "
                         "know it; give a data set of MPD slices")
    entries = np.bincount(playlists.track, minlength=playlists.num_tracks)
    order = np.lexsort((-entries, ~inside))
    return playlists.track_uris.take(order[spotify[order]]).tolist(), int((inside & spotify).sum())


def open_tracks(work: list[str], state: dict[str, str]) -> list[str]:
    """What is left to ask for: first the tracks never asked for, then those without an answer, so that a batch that
    always fails cannot hold up the others."""
    return ([uri for uri in work if uri not in state]
            + [uri for uri in work if state.get(uri) in (RETRY, DENIED)])


def fetch(source: Spotify | ReccoBeats | Sqlite, store: Store, uris: list[str]) -> None:
    """Ask for all `uris` in batches; every answer is in the store before the next question.

    Raises InputError where going on is no use: 403 or another refusal, GIVE_UP batches in a row without an answer, a
    Retry-After too long, a full disk."""
    batches = [uris[start:start + source.batch] for start in range(0, len(uris), source.batch)]
    failures = 0
    with store, tqdm(total=len(uris), desc=source.name, unit=" tracks", disable=None) as bar:
        for batch in batches:
            try:
                records, failures = source.ask(batch), 0
            except Unanswered as error:
                records, failures, reason = [Record(uri, source.name, RETRY) for uri in batch], failures + 1, error
            except Refused as refusal:
                if refusal.status != 403:
                    raise InputError(f"{source.name}: refuses to answer ({refusal}); {len(uris) - bar.n:,} tracks stay "
                                     f"to be asked for; check --api-url, then give the same command again") from None
                store.append(Record(uri, source.name, DENIED) for uri in batch)
                raise InputError(f"{source.name}: {refusal}, access denied: {source.closed}") from None
            store.append(records)
            if failures == min(GIVE_UP, len(batches)):
                raise InputError(f"{source.name}: no answer to {failures} requests in a row, {ATTEMPTS} attempts each, "
                                 f"at last {reason}; all answers so far are in {store.path}: give the same command "
                                 f"again later")
            bar.update(len(batch))


# ---- the command

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="fetch_audio_features.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--source", choices=list(SOURCES), required=True, help="spotify needs "
                        "SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET in the environment, of an app made before "
                        "2024-11-27; reccobeats needs nothing; sqlite reads the dump that --sqlite names")
    data = parser.add_argument_group("data")
    data.add_argument("--data", type=Path, help="the playlists whose tracks are asked for, as for train.py")
    data.add_argument("--slices", type=int, help="read only the first N slices, in numeric order")
    data.add_argument("--skip-bad", action="store_true", help="leave out broken playlists, instead of stopping at the "
                      "first")
    data.add_argument("--k-core", type=int, default=1, help="ask for the tracks of the K-core before all others; "
                      "--limit can stop there")
    work = parser.add_argument_group("work")
    work.add_argument("--store", type=Path, default=Path("data/audio_features.jsonl"), help="where answers are "
                      "kept, so that nothing is asked for twice; only ever appended to")
    work.add_argument("--limit", type=int, metavar="N", help="ask for N tracks at most, the most frequent first")
    work.add_argument("--dry-run", action="store_true", help="say what would be asked for, and ask nothing")
    source = parser.add_argument_group("source")
    source.add_argument("--sqlite", type=Path, metavar="FILE", help="the dump: an SQLite file with a table `extracted`")
    source.add_argument("--api-url", metavar="URL", help=f"another address of the service (default: {SPOTIFY_API} or "
                        f"{RECCOBEATS_API})")
    source.add_argument("--token-url", metavar="URL", default=SPOTIFY_TOKEN, help="another address for tokens")
    source.add_argument("--timeout", type=float, default=20, help="seconds without a word from the server before it is "
                        "asked again")
    source.add_argument("--max-wait", type=float, default=600, help="stop where the server asks for a longer pause, in "
                        "seconds")
    args = parser.parse_args(argv)
    if (args.source == "sqlite") != (args.sqlite is not None):
        raise InputError("--source sqlite and --sqlite FILE go together: the kind of source, and the file")
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit {args.limit}: must be at least 1; --dry-run asks for nothing")
    for name, value in (("--timeout", args.timeout), ("--max-wait", args.max_wait)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} {value:g}: must be a number of seconds above 0")
    args.api_url = (args.api_url or (SPOTIFY_API if args.source == "spotify" else RECCOBEATS_API)).rstrip("/")
    for name, value in (("--api-url", args.api_url), ("--token-url", args.token_url)):
        if not value.startswith(("http://", "https://")):
            raise InputError(f"{name} {value}: must start with https:// or http://")
    return args


def describe(work: list[str], state: dict[str, str], source: str) -> str:
    """One line on where a work list stands."""
    counts = Counter(state.get(uri, "open") for uri in work)
    return (f"{counts[FOUND]:,} found ({counts[FOUND] / len(work):.1%}), {counts[MISSING]:,} missing at {source}, "
            f"{counts[RETRY]:,} to retry, {counts[DENIED]:,} denied, {counts['open']:,} not asked for")


def main(argv: list[str] | None = None) -> Path:
    """Fetch, and return the path of the store."""
    args = parse(argv)
    source = None if args.dry_run else make_source(args.source, args.sqlite, Http(args.timeout, args.max_wait),
                                                   args.api_url, args.token_url)
    playlists = mpd.load(args.data, slices=args.slices, skip_bad=args.skip_bad)
    work, in_core = work_list(playlists, args.k_core)
    store = Store(args.store, args.source)
    uris = open_tracks(work, store.state)[:args.limit]
    core = f", {in_core:,} of them in the {args.k_core}-core" if args.k_core > 1 else ""
    print(f"tracks     {len(work):,}{core}")
    print(f"store      {args.store}: {describe(work, store.state, args.source)}")
    batches = math.ceil(len(uris) / SOURCES[args.source].batch)
    print(f"to ask     {len(uris):,} tracks in {batches:,} requests", flush=True)
    if args.dry_run:
        given = sys.argv[1:] if argv is None else argv
        print("next: " + shlex.join(["python", "fetch_audio_features.py", *(w for w in given if w != "--dry-run")]))
        return args.store

    if playlists.note.startswith(NOTE) and args.api_url in (SPOTIFY_API, RECCOBEATS_API) and args.source != "sqlite":
        raise InputError(f"--source {args.source}: the playlists are synthetic, and no service knows invented tracks; "
                         "give --data with playlists of the MPD")
    fetch(source, store, uris)
    print(f"now        {describe(work, store.state, args.source)}")
    states = {store.state.get(uri) for uri in work}
    if states & {RETRY, DENIED}:
        print("           the same command asks again for the tracks to retry")
    if FOUND not in states:
        print(f"next: none of these tracks has features in {args.store}; ask another --source")
        return args.store
    options = [("--data", args.data), ("--slices", args.slices), ("--k-core", args.k_core if args.k_core > 1 else None),
               ("--features", args.store)]
    print("next: " + shlex.join(["python", "train.py", *(str(w) for option in options if option[1] for w in option)]))
    return args.store


if __name__ == "__main__":
    cli.run(main)
