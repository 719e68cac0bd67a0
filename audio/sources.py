"""Where audio features come from: Spotify, ReccoBeats and a dump, each asked for some tracks at a time.

    source.ask(URIs) → a Record of each        Spotify and ReccoBeats over Http, Sqlite from a file

Credentials come from the environment, and are in no message.
"""
from __future__ import annotations

import math
import os
import random
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Callable

import requests
from tqdm import tqdm

from audio.store import FEATURES, FOUND, MISSING, RETRY, Record
from common.errors import InputError

SPOTIFY_API, SPOTIFY_TOKEN = "https://api.spotify.com/v1", "https://accounts.spotify.com/api/token"
RECCOBEATS_API = "https://api.reccobeats.com/v1"
ATTEMPTS = 7                # times that a batch is asked for before it is left for another day
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0      # seconds between attempts where the server names none; doubles each time
TOKEN_MARGIN = 60           # seconds before its end at which a token is exchanged for a fresh one
TRACK_URI = re.compile(r"spotify:track:([0-9A-Za-z]{22})")
HREF = re.compile(r"/track/([0-9A-Za-z]{22})")
PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
           requests.exceptions.ContentDecodingError)


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
    closed = ("since 2024-11-27 Spotify answers audio features only to apps made before that day; --source reccobeats "
              "needs no key, --source sqlite --sqlite FILE reads a dump")         # what a 403 means

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
    closed = ("ReccoBeats does not let this machine in; --source sqlite --sqlite FILE reads a dump, --source spotify "
              "works for apps made before 2024-11-27")

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
