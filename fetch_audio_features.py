"""Fetch audio features of the tracks of a data set, for `train.py --features`.

    python fetch_audio_features.py --source reccobeats --data mpd/data --slices 50 --dry-run    how much there is to ask
    python fetch_audio_features.py --source reccobeats --data mpd/data --slices 50              no key needed
    python fetch_audio_features.py --source sqlite --sqlite tracks.db --data mpd/data           a dump, no network

It may be stopped at any moment, by kill -9 too: the same command goes on and asks for nothing that was answered.

    main ── work_list        the tracks to ask for, those of the k-core first
      │  └─ Store            what was answered so far                    mpd/audio.py
      └─ fetch
           └─ for every batch
                ├─ ask       Spotify, ReccoBeats (both over Http) or Sqlite
                └─ append    every track of the batch, with what became of it
"""
from __future__ import annotations

import argparse
import math
import os
import random
import re
import shlex
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Callable

import numpy as np
import requests
from tqdm import tqdm

import cli
import mpd
from errors import InputError
from mpd.audio import DENIED, FEATURES, FOUND, MISSING, RETRY, Record, Store
from mpd.kcore import k_core
from mpd.playlists import Playlists
from mpd.synthetic import NOTE

SPOTIFY_API, SPOTIFY_TOKEN = "https://api.spotify.com/v1", "https://accounts.spotify.com/api/token"
RECCOBEATS_API = "https://api.reccobeats.com/v1"
ATTEMPTS = 7                # times that a batch is asked for before it is left for another day
GIVE_UP = 3                 # batches without an answer, one after the other, that end the run
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0      # seconds between attempts where the server names none; doubles each time
TOKEN_MARGIN = 60           # seconds before its end at which a token is exchanged for a fresh one
TRACK_URI = re.compile(r"spotify:track:([0-9A-Za-z]{22})")
HREF = re.compile(r"/track/([0-9A-Za-z]{22})")
PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
           requests.exceptions.ContentDecodingError)
CLOSED = {
    "spotify": "since 2024-11-27 Spotify answers audio features only to apps made before that day; --source reccobeats "
               "needs no key, --source sqlite --sqlite FILE reads a dump",
    "reccobeats": "ReccoBeats does not let this machine in; --source sqlite --sqlite FILE reads a dump, --source "
                  "spotify works for apps made before 2024-11-27",
}


# ---- what can go wrong on the way to an answer

class Refused(Exception):
    """An HTTP status that asking again does not change."""

    def __init__(self, status: int):
        super().__init__(f"HTTP {status}")
        self.status = status


class Unanswered(Exception):
    """No usable answer in ATTEMPTS attempts; the text is what happened at the last."""


class Http:
    """Questions and JSON answers, with patience for what passes: 429, 5xx, time-outs, lost connections, broken answers.

    timeout: seconds to wait for a connection, and for each piece of an answer. max_wait: the longest Retry-After, in
    seconds, that is waited out."""

    def __init__(self, timeout: float, max_wait: float):
        self.session, self.timeout, self.max_wait = requests.Session(), timeout, max_wait
        self.pause, self.reason = 0.0, ""           # seconds to rest before the next question, whoever asks it, and why

    def ask(self, method: str, url: str, read: Callable[[Any], Any], **request) -> Any:
        """`read` of the JSON that comes back; a ValueError, KeyError, TypeError or AttributeError in it is an answer of
        the wrong form. `request` goes on to requests.

        Raises Refused, Unanswered, or InputError for an unusable URL or a Retry-After above max_wait."""
        for attempt in range(ATTEMPTS):
            self._rest()
            wait = ""
            try:
                response = self.session.request(method, url, timeout=self.timeout, **request)
            except PASSING as error:
                self.reason = type(error).__name__
            except requests.RequestException as error:
                # Its name alone: the text of an error about a header or a proxy would show a token or a password.
                raise InputError(f"{url}: cannot be asked ({type(error).__name__}); check the URL") from None
            else:
                if response.status_code == 200:
                    try:
                        return read(response.json())
                    except (ValueError, KeyError, TypeError, AttributeError):
                        self.reason = "an answer that is cut off or of an unknown form"
                elif response.status_code == 429 or response.status_code >= 500:
                    self.reason, wait = f"HTTP {response.status_code}", response.headers.get("Retry-After", "")
                else:
                    raise Refused(response.status_code)
            self.pause = self._seconds(wait, attempt)
        raise Unanswered(self.reason)

    def _seconds(self, wait: str, attempt: int) -> float:
        """What the server asked for; where it named no seconds, exponential back-off with jitter, so that several
        clients that were refused together do not come back together."""
        asked = int(wait) if wait.isdecimal() else 0
        if asked > self.max_wait:
            raise InputError(f"{self.reason}: the server asks to wait {asked / 60:.0f} minutes; all answers so far are "
                             f"stored: give the same command again then, or raise --max-wait")
        return asked or random.uniform(0.5, 1) * min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** attempt)

    def _rest(self) -> None:
        if self.pause >= 2 and sys.stderr.isatty():
            tqdm.write(f"{self.reason}: waiting {self.pause:.0f} s", file=sys.stderr)
        if self.pause:
            sleep(self.pause)
        self.pause = 0.0


# ---- sources: a name, how many tracks they take at a time, and ask(URIs) → a record of each

class Spotify:
    """Spotify's Web API with client credentials: a token for id and secret, good for an hour."""
    name, batch = "spotify", 100

    def __init__(self, http: Http, api_url: str, token_url: str, client: tuple[bytes, bytes]):
        self.http, self.url, self.token_url, self.client = http, f"{api_url}/audio-features", token_url, client
        self.token, self.expires = "", -math.inf

    def ask(self, uris: list[str]) -> list[Record]:
        """Raises Refused, Unanswered, or InputError for credentials that are not accepted."""
        def read(answer) -> list[Record]:
            entries = answer["audio_features"]
            if len(entries) != len(uris):           # without their places, nulls do not say which track is unknown
                entries = [entry for entry in entries if entry is not None]
            by_uri = {uri_of(entry["id"]): numbers(entry) for entry in entries if entry is not None}
            unknown = {uri for uri, entry in zip(uris, entries) if entry is None}
            return [record(self.name, uri, by_uri.get(uri), MISSING if uri in unknown else RETRY) for uri in uris]

        for fresh in (False, True):
            if monotonic() >= self.expires:
                self._sign_in()
            try:
                return self.http.ask("GET", self.url, read, params=ids(uris), auth=self._sign)
            except Refused as refusal:
                if refusal.status != 401 or fresh:
                    raise
                self.expires = -math.inf            # the token ended before its time: once more, with a fresh one

    def _sign_in(self) -> None:
        def read(answer) -> tuple[str, float]:
            return "Bearer " + answer["access_token"], float(answer.get("expires_in", 3600))

        try:
            self.token, life = self.http.ask("POST", self.token_url, read, auth=self.client,
                                             data={"grant_type": "client_credentials"})
        except Refused as refusal:
            raise InputError(f"{self.token_url}: no token for these credentials ({refusal}); check SPOTIFY_CLIENT_ID "
                             f"and SPOTIFY_CLIENT_SECRET") from None
        self.expires = monotonic() + life - TOKEN_MARGIN

    def _sign(self, request):
        """As `auth`, not as a header: requests puts credentials of a .netrc above a header."""
        request.headers["Authorization"] = self.token
        return request


class ReccoBeats:
    """ReccoBeats, without credentials. It silently drops ids past 40, and leaves out tracks it does not know."""
    name, batch = "reccobeats", 40

    def __init__(self, http: Http, api_url: str):
        self.http, self.url = http, f"{api_url}/audio-features"

    def ask(self, uris: list[str]) -> list[Record]:
        """Raises Refused or Unanswered."""
        def read(answer) -> list[Record]:
            by_uri = {uri_of(HREF.search(entry["href"])[1]): numbers(entry) for entry in answer["content"]}
            return [record(self.name, uri, by_uri.get(uri), MISSING) for uri in uris]

        return self.http.ask("GET", self.url, read, params=ids(uris))


class Sqlite:
    """A dump: table `extracted`, its column `id` a track's 22 characters, features in columns that have their names.

    Raises InputError if the file cannot be read, or has no such table or columns."""
    name, batch = "sqlite", 900                     # old versions of SQLite allow 999 variables in a query

    def __init__(self, path: Path):
        self.path = path
        if not path.is_file():
            raise InputError(f"{path}: no such file; --sqlite names the dump to read")
        have = [row[1] for row in self._rows("PRAGMA table_info(extracted)", [])]
        self.columns = [name for name in FEATURES if name in have]
        if not have:
            raise InputError(f"{path}: has no table `extracted`; name another dump with --sqlite")
        if "id" not in have or not self.columns:
            raise InputError(f"{path}: table `extracted` needs a column `id` and columns of features "
                             f"({', '.join(FEATURES)}); it has {', '.join(have)}")

    def ask(self, uris: list[str]) -> list[Record]:
        query = (f"SELECT id, {', '.join(self.columns)} FROM extracted "
                 f"WHERE id IN ({', '.join('?' * len(uris))})")
        rows = self._rows(query, [TRACK_URI.fullmatch(uri)[1] for uri in uris])
        by_uri = {uri_of(key): numbers(dict(zip(self.columns, row))) for key, *row in rows}
        return [record(self.name, uri, by_uri.get(uri), MISSING) for uri in uris]

    def _rows(self, query: str, values: list[str]) -> list[tuple]:
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as database:
                return database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise InputError(f"{self.path}: cannot be read as an SQLite database ({error})") from error


SOURCES = {source.name: source for source in (Spotify, ReccoBeats, Sqlite)}


def uri_of(track_id: str) -> str:
    return f"spotify:track:{track_id}"


def ids(uris: list[str]) -> dict[str, str]:
    """The query that both services take: bare ids with commas between."""
    return {"ids": ",".join(TRACK_URI.fullmatch(uri)[1] for uri in uris)}


def numbers(entry: dict) -> dict[str, float]:
    """The FEATURES of an answer that are finite numbers."""
    return {name: entry[name] for name in FEATURES
            if isinstance(entry.get(name), (int, float)) and math.isfinite(entry[name])}


def record(source: str, uri: str, features: dict[str, float] | None, otherwise: str) -> Record:
    """Found if there are features, missing if the entry has none of them, `otherwise` if there is no entry (None)."""
    if features is None:
        return Record(uri, source, otherwise)
    return Record(uri, source, FOUND, features) if features else Record(uri, source, MISSING)


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
                raise InputError(f"{source.name}: {refusal}, access denied: {CLOSED[source.name]}") from None
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


def credentials() -> tuple[bytes, bytes]:
    """Client id and secret from the environment. Raises InputError if one is not set."""
    found = [os.environ.get(name, "").strip() for name in ("SPOTIFY_CLIENT_ID", "SPOTIFY_CLIENT_SECRET")]
    if not all(found):
        raise InputError("--source spotify: set SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET in the environment, or use "
                         "--source reccobeats, which needs neither")
    return tuple(os.fsencode(text) for text in found)


def make_source(name: str, sqlite: Path | None, http: Http, api_url: str,
                token_url: str) -> Spotify | ReccoBeats | Sqlite:
    """Raises InputError for missing credentials or an unusable dump; asks nothing over the network."""
    if name == "sqlite":
        return Sqlite(sqlite)
    return Spotify(http, api_url, token_url, credentials()) if name == "spotify" else ReccoBeats(http, api_url)


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
