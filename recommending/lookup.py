"""From the words that a person types to a playlist, a track or an artist of a table.

Words are compared without case, accents and punctuation, in any order. Whatever cannot be told apart is said, with
the candidates; whatever is not there, with what comes near.
"""
from __future__ import annotations

import difflib
import re
import unicodedata
from typing import Iterable, Sequence

import numpy as np

from common.errors import InputError
from mpd.playlists import Playlists, Strings

ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")     # combining characters
SHOWN = 10              # candidates that an error lists
NEAR_AMONG = 200_000    # names that near matches are sought among: a second or two


def words(text: str) -> list[str]:
    """The words of a name: lower case, without accents and punctuation."""
    return re.findall(r"\w+", _plain(text))


def _plain(text: str) -> str:
    return text.lower() if text.isascii() else ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))


def find_track(playlists: Playlists, query: str, popularity: np.ndarray | None = None) -> int:
    """The index of a track by its URI, or by words of its title and artist. A title that is the query whole goes before
    titles that contain it; one song under several URIs is the most popular (popularity (T,)) or the first of them.

    Raises InputError if there is none, or several songs.
    """
    exact = _by_uri(playlists.track_uris, query)
    if exact is not None:
        return exact
    if query.startswith("spotify:"):
        raise InputError(f"track {query!r}: not among the {playlists.num_tracks:,} tracks of these data; its title may "
                         f"be, under another URI")
    def artist(t: int) -> str:
        a = int(playlists.track_artist[t])
        return playlists.artist_names[a] if a >= 0 else ""
    wanted = words(query)
    titled, by = _lines(playlists.track_names, wanted), _lines(playlists.artist_names, wanted)
    named = [titles | set(np.flatnonzero(np.isin(playlists.track_artist, [*artists])).tolist())
             for titles, artists in zip(titled, by)]                            # tracks that each word names
    found = sorted(set.intersection(*named) & set.union(*titled)) if wanted else []
    found = found or _called(playlists.track_names, query)
    whole = [t for t in found if playlists.track_names[t] == query] or \
        [t for t in found if sorted(wanted) in (sorted(words(playlists.track_names[t])),
                                                sorted(words(playlists.track_names[t] + " " + artist(t))))]
    songs: dict[tuple, list[int]] = {}
    for t in whole or found:
        songs.setdefault((*words(playlists.track_names[t]), int(playlists.track_artist[t])), []).append(t)
    if popularity is not None:
        songs = dict(sorted(songs.items(), key=lambda song: -max(popularity[t] for t in song[1])))

    def describe(t: int) -> str:
        return " – ".join(filter(None, (playlists.track_names[t], artist(t)))) + f" ({playlists.track_uris[t]})"

    if not songs:
        raise _unknown("track", query, playlists.track_names, "its URI or words of its title and artist")
    if len(songs) > 1:
        found = [describe(same[0]) for same in songs.values()]
        raise _ambiguous("track", query, found, "add the artist, or give the URI")
    (same,) = songs.values()
    return same[0] if popularity is None else max(same, key=lambda t: (popularity[t], -t))


def find_playlist(playlists: Playlists, query: str) -> int:
    """The index of a playlist by its pid, or by its name where no other has the same; a number is a pid first.

    Raises InputError if there is none, or several.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", query.strip()):
        (row,) = np.nonzero(playlists.pids == int(query))
        if len(row):
            return int(row[0])
    called, _ = _named(playlists.playlist_names, query)
    return _the_one("playlist", query, called, playlists.playlist_names, "its pid or its name",
                    lambda p: f"pid {playlists.pids[p]} {playlists.playlist_names[p]!r}", "give a pid")


def find_artist(playlists: Playlists, query: str) -> int:
    """The index of an artist by URI or name; a name that is the query whole goes before names that contain it.

    Raises InputError if there is none, or several.
    """
    exact = _by_uri(playlists.artist_uris, query)
    if exact is not None:
        return exact
    called, holding = _named(playlists.artist_names, query)
    return _the_one("artist", query, called or holding, playlists.artist_names, "its URI or its name",
                    lambda a: f"{playlists.artist_names[a]} ({playlists.artist_uris[a]})", "give the URI")


def _by_uri(uris: Strings, query: str) -> int | None:
    return next((i for i, uri in enumerate(uris) if uri == query), None)


def _lines(names: Strings, wanted: Sequence[str]) -> list[set[int]]:
    """For each wanted word the names that hold it. They are searched as one text, a line each: 100,000 of them in
    hundredths of a second."""
    text = _plain("\n".join(name.replace("\n", " ") for name in names))
    ends = np.flatnonzero(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32) == ord("\n"))
    places = [[match.start() for match in re.finditer(rf"\b{re.escape(word)}\b", text)] for word in wanted]
    return [set(np.searchsorted(ends, each).tolist()) for each in places]


def _called(names: Strings, query: str) -> list[int]:
    """Names that are the query, letter by letter."""
    return [i for i, name in enumerate(names) if name == query != ""]


def _named(names: Strings, query: str) -> tuple[list[int], list[int]]:
    """Names that are the query, letter by letter or else word by word; and those that hold all of its words."""
    wanted = words(query)
    holding = sorted(set.intersection(*_lines(names, wanted))) if wanted else []
    return _called(names, query) or [i for i in holding if words(names[i]) == wanted], holding


def _the_one(kind: str, query: str, found: list[int], names: Strings, give: str, describe, then: str) -> int:
    """The only one found. Raises InputError if there is none, or several."""
    if not found:
        raise _unknown(kind, query, names, give)
    if len(found) > 1:
        raise _ambiguous(kind, query, [describe(i) for i in found], then)
    return found[0]


def _unknown(kind: str, query: str, names: Strings, give: str) -> InputError:
    if not any(names.offsets[1:] > names.offsets[:-1]):
        return InputError(f"{kind} {query!r}: these data have no {kind} names")
    pool = dict.fromkeys(name for _, name in zip(range(NEAR_AMONG), names))
    plain = {plain: name for name in pool if (plain := " ".join(words(name)))}
    near = difflib.get_close_matches(" ".join(words(query)), plain, n=SHOWN, cutoff=0.6)
    like = f"; near it: {_listed(plain[n] for n in near)}" if near else ""
    return InputError(f"{kind} {query!r}: none here by {give}{like}")


def _ambiguous(kind: str, query: str, candidates: list[str], then: str) -> InputError:
    return InputError(f"{kind} {query!r}: {len(candidates)} fit: {_listed(candidates)}; {then}")


def _listed(items: Iterable[str]) -> str:
    items = list(items)
    return ", ".join(items[:SHOWN]) + (", …" if len(items) > SHOWN else "")
