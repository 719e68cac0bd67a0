"""Planted playlists: a synthetic Million Playlist Dataset of any size, and what was planted in it.

The model. Artists have a genre, and half of them a style, a second genre. Artists have albums, albums have
tracks; within a genre the popularity of tracks falls off like Zipf's law, and popular tracks cluster on
popular artists. A playlist has one to three related genres and passes through them in order, so its end says
most about what would come next. Most entries are drawn by popularity from the genre of the moment, some
continue with the artist or the album of an entry before them, some are noise from anywhere. The title is made
of genre words and common words.
"""

import inspect
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpd.playlists import NO_COUNTS, Playlists, Strings, places

NOTE = "SYNTHETIC playlists from a planted model (mpd/synthetic.py): invented music, invented listeners"
SLICE_SIZE = 1000  # playlists a slice file, as in the MPD
CHUNK = 20_000  # playlists drawn at a time: bounds the temporaries to about 200 MB
BASE62 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)

GENRES = ("rock jazz techno folk soul metal disco blues reggae ambient punk country gospel house opera "
          "funk salsa grime swing flamenco bossa trance ska dub").split()
SHADES = ("indie dark nordic latin deep acid progressive desert electric urban lo-fi symphonic garage "
          "southern").split()
MOODS = "mix vibes essentials party roadtrip favourites radio classics nights workout".split()
PLAIN = ("summer", "chill", "car", "good stuff", "sleep", "running", "party", "mixtape", "old and new",
         "throwback")
ADJECTIVES = ("Velvet Silver Hollow Paper Golden Midnight Crimson Quiet Electric Broken Distant Wild "
              "Burning Frozen Lucky Lonely Neon Faded Northern Gentle Restless Crystal Rusty Sacred "
              "Hidden Endless Tender Wicked Amber Coral Drifting Glass Iron Little Lunar Marble "
              "Painted Scarlet Secret Sleeping Solar Stolen Sudden Summer Tangled Violet Wandering "
              "Winter").split()
NOUNS = ("Harbor Lantern River Engine Garden Mirror Tiger Valley Signal Meadow Parade Thunder Window "
         "Orchard Satellite Compass Ember Horizon Island Kingdom Ladder Letter Machine Mountain Ocean "
         "Palace Pilot Planet Prairie Raven Rocket Sailor Shadow Sparrow Station Stranger Temple "
         "Tower Train Tunnel Village Voyage Whisper Wolf Anchor Bridge Canyon Circus").split()
ARTIST_TAILS = ("", "Club", "Quartet", "Brothers", "Sisters", "Orchestra", "Society", "Trio", "Band")
ALBUM_TAILS = ("", "Sessions", "Tapes", "Live", "Stories", "Volume Two", "Chronicles", "Remixed", "Suite")
TRACK_TAILS = ("", "Blues", "at Dawn", "Tonight", "Again", "in Blue", "Waltz", "Forever", "Reprise")


@dataclass
class Planted:
    """What `plant` planted, in the numbering of its table. T tracks, A artists, P playlists, E entries."""
    genre_names: list[str]  # by genre
    track_genre: np.ndarray  # (T,) int32, that of the artist
    artist_genre: np.ndarray  # (A,) int32
    artist_style: np.ndarray  # (A,) int32, a second genre, -1 = none
    playlist_genres: np.ndarray  # (P, 3) int32 in the order in which the playlist passes them, -1 padding
    track_popularity: np.ndarray  # (T,) float64, weight within the genre; the most popular one has 1
    noise: np.ndarray  # (E,) bool, the entry was drawn from anywhere


def plant(num_playlists: int = 2000, seed: int = 0, mean_length: float = 30.0, num_tracks: int | None = None,
          num_artists: int | None = None, num_albums: int | None = None, num_genres: int | None = None,
          noise: float = 0.1, follow: float = 0.3) -> tuple[Playlists, Planted]:
    """Draw a table of playlists from the planted model; the same arguments give the same table.

    mean_length  of a playlist; lengths are log-normal, cut to 5..250
    num_...      size of the catalogue; the defaults grow with the number of playlists as the MPD's do
    noise        share of entries drawn from the whole catalogue
    follow       share of entries that continue with the artist or album of an entry before them

    The table is numbered as `read_slices` would number it: by first appearance, without what never appears.
    Memory grows linearly: about 30 bytes an entry at the peak."""
    usual = inspect.signature(plant).parameters
    arguments = {name: value for name, value in locals().copy().items() if name in ("num_playlists", "seed")
                 or name in usual and value != usual[name].default}
    rng = np.random.default_rng(seed)
    num_tracks = num_tracks or round(6500 * (num_playlists / 2000) ** 0.95) + 40
    num_artists = min(num_artists or round(0.15 * num_tracks) + 1, num_tracks)
    num_albums = max(min(num_albums or round(0.3 * num_tracks) + 1, num_tracks), num_artists)
    num_genres = num_genres or max(3, round(16 * (num_playlists / 2000) ** 0.3))
    num_genres = min(num_genres, len(GENRES) * (len(SHADES) + 1))
    catalogue = _Catalogue.draw(rng, num_tracks, num_artists, num_albums, num_genres)

    # Log-normal with the spread of the MPD's lengths; its mean is exp(mu + sigma² / 2).
    sigma = 0.7
    lengths = rng.lognormal(np.log(mean_length) - sigma ** 2 / 2, sigma, num_playlists)
    lengths = np.clip(np.rint(lengths), 5, 250).astype(np.int64)
    genres = _playlist_genres(rng, catalogue.genre_weight, num_playlists)
    chunks = [_draw_entries(rng, catalogue, lengths[i:i + CHUNK], genres[i:i + CHUNK], noise, follow)
              for i in range(0, num_playlists, CHUNK)]
    track, is_noise, kept = (np.concatenate(column) for column in zip(*chunks))
    del chunks
    playlist = np.repeat(np.arange(num_playlists, dtype=np.int32), kept)
    position = np.arange(len(track), dtype=np.int32)
    position -= np.repeat((np.cumsum(kept) - kept).astype(np.int32), kept)

    # From the catalogue's numbers to numbers by first appearance, as a reader gives them.
    tracks = _by_first_appearance(track, num_tracks)  # (T,) catalogue number of each track of the table
    albums = _by_first_appearance(catalogue.album_of_track[tracks], num_albums)
    artists = _by_first_appearance(catalogue.artist_of_track[tracks], num_artists)
    table = Playlists(
        playlist=playlist,
        track=_inverse(tracks, num_tracks)[track],
        position=position,
        track_artist=_inverse(artists, num_artists)[catalogue.artist_of_track[tracks]],
        track_album=_inverse(albums, num_albums)[catalogue.album_of_track[tracks]],
        pids=np.arange(num_playlists),
        playlist_names=_titles(rng, genres, catalogue.genre_names),
        track_uris=_uris(rng, "track", len(tracks)), track_names=_names(rng, len(tracks), TRACK_TAILS),
        artist_uris=_uris(rng, "artist", len(artists)), artist_names=_names(rng, len(artists), ARTIST_TAILS),
        album_uris=_uris(rng, "album", len(albums)), album_names=_names(rng, len(albums), ALBUM_TAILS),
        counts=NO_COUNTS | {"entries": len(track)},
        note=f"{NOTE}: plant {json.dumps(arguments)}",
    )
    planted = Planted(
        genre_names=catalogue.genre_names,
        track_genre=catalogue.genre_of_artist[catalogue.artist_of_track[tracks]],
        artist_genre=catalogue.genre_of_artist[artists],
        artist_style=catalogue.style_of_artist[artists],
        playlist_genres=genres,
        track_popularity=catalogue.popularity[tracks],
        noise=is_noise,
    )
    return table, planted


def genres_of(playlists: Playlists) -> tuple[np.ndarray, list[str]] | None:
    """(T,) int32, the planted genre of every track of a synthetic table, -1 where the track is none of the
    planted, and the genres' names; None for playlists that nobody planted. The table's note says how it was
    made; it is made again."""
    found = re.search(r": plant (\{.*\})$", playlists.note)
    if not playlists.note.startswith(NOTE) or found is None:
        return None
    table, planted = plant(**json.loads(found[1]))
    genre = dict(zip(table.track_uris, planted.track_genre.tolist()))
    return np.array([genre.get(uri, -1) for uri in playlists.track_uris], dtype=np.int32), planted.genre_names


# ---- the model

@dataclass
class _Catalogue:
    """All music there is. Tracks are numbered album by album, albums artist by artist."""
    genre_names: list[str]
    genre_weight: np.ndarray  # (G,) share of playlists that start in the genre
    genre_of_artist: np.ndarray  # (A,) int32
    style_of_artist: np.ndarray  # (A,) int32, -1 = none
    artist_of_track: np.ndarray  # (T,) int32
    album_of_track: np.ndarray  # (T,) int32
    first_of_artist: np.ndarray  # (A + 1,) tracks of artist a are first_of_artist[a]..first_of_artist[a + 1]
    first_of_album: np.ndarray  # (B + 1,)
    popularity: np.ndarray  # (T,) float64
    pool: np.ndarray  # (M,) int32 tracks, genre by genre; one whose artist has a style is in two genres
    pool_cumulated: np.ndarray  # (M,) running sum of the weights in the pool, over all genres
    pool_ends: np.ndarray  # (G + 1,) float64, that sum where each genre starts, and the total

    @classmethod
    def draw(cls, rng: np.random.Generator, num_tracks: int, num_artists: int, num_albums: int,
             num_genres: int) -> "_Catalogue":
        shaded = [f"{shade} {genre}" for shade in SHADES for genre in GENRES]
        genre_weight = (np.arange(num_genres) + 4.0) ** -0.7  # some genres are bigger than others
        genre_weight /= genre_weight.sum()
        genre_of_artist = rng.choice(num_genres, num_artists, p=genre_weight).astype(np.int32)
        genre_of_artist[:num_genres] = np.arange(num_artists)[:num_genres]  # no genre without an artist
        style_of_artist = _related(rng, genre_of_artist, num_genres)
        style_of_artist[rng.random(num_artists) < 0.5] = -1

        fame = rng.lognormal(0.0, 1.0, num_artists)  # famous artists have more albums, played more often
        artist_of_album = np.sort(_each_once(rng, fame, num_albums))
        album_of_track = np.sort(_each_once(rng, rng.lognormal(0.0, 0.5, num_albums), num_tracks))
        artist_of_track = artist_of_album[album_of_track]
        genre_of_track = genre_of_artist[artist_of_track]

        score = fame[artist_of_track] * rng.lognormal(0.0, 1.0, num_tracks)
        by_genre = np.lexsort((-score, genre_of_track))
        start_of_genre = np.searchsorted(genre_of_track[by_genre], np.arange(num_genres))
        rank = np.empty(num_tracks, np.int64)  # 0 = most popular of its genre
        rank[by_genre] = np.arange(num_tracks) - start_of_genre[genre_of_track[by_genre]]
        popularity = (1.0 + rank / 8) ** -0.9  # Zipf's law with a flattened head

        styled = np.flatnonzero(style_of_artist[artist_of_track] >= 0)
        pool = np.concatenate([np.arange(num_tracks), styled]).astype(np.int32)
        pool_genre = np.concatenate([genre_of_track, style_of_artist[artist_of_track[styled]]])
        weight = np.concatenate([popularity, 0.4 * popularity[styled]])
        order = np.argsort(pool_genre, kind="stable")
        cumulated = np.cumsum(weight[order])
        counts = np.bincount(pool_genre, minlength=num_genres)
        return cls((GENRES + shaded)[:num_genres], genre_weight, genre_of_artist, style_of_artist,
                   artist_of_track, album_of_track,
                   np.searchsorted(artist_of_track, np.arange(num_artists + 1)),
                   np.searchsorted(album_of_track, np.arange(num_albums + 1)),
                   popularity, pool[order], cumulated, np.append(0.0, cumulated[np.cumsum(counts) - 1]))

    def from_genre(self, rng: np.random.Generator, genre: np.ndarray) -> np.ndarray:
        """A track of each genre (n,), by popularity: where a uniform point falls in the cumulated weights."""
        low, high = self.pool_ends[genre], self.pool_ends[genre + 1]
        point = low + rng.random(len(genre)) * (high - low)
        place = np.searchsorted(self.pool_cumulated, point, side="right")
        return self.pool[np.minimum(place, len(self.pool) - 1)]

    def beside(self, rng: np.random.Generator, track: np.ndarray) -> np.ndarray:
        """For each track (n,) one of the same album, half of the time, or else of the same artist."""
        album, artist = self.album_of_track[track], self.artist_of_track[track]
        same_album = rng.random(len(track)) < 0.5
        low = np.where(same_album, self.first_of_album[album], self.first_of_artist[artist])
        high = np.where(same_album, self.first_of_album[album + 1], self.first_of_artist[artist + 1])
        return (low + rng.random(len(track)) * (high - low)).astype(np.int32)


def _each_once(rng: np.random.Generator, weight: np.ndarray, size: int) -> np.ndarray:
    """(size,) int32 draws from 0..len(weight)-1 by weight, in which each of them occurs at least once."""
    rest = rng.choice(len(weight), size - len(weight), p=weight / weight.sum())
    return np.concatenate([np.arange(len(weight)), rest]).astype(np.int32)


def _related(rng: np.random.Generator, genre: np.ndarray, num_genres: int) -> np.ndarray:
    """A genre near each given one: genres lie on a ring, and the two on either side are related."""
    return ((genre + rng.choice([-2, -1, 1, 2], len(genre))) % num_genres).astype(np.int32)


def _playlist_genres(rng: np.random.Generator, weight: np.ndarray, num_playlists: int) -> np.ndarray:
    """(P, 3) int32: half of the playlists have one genre, 35% two, 15% three; -1 padding."""
    genres = np.empty((num_playlists, 3), np.int32)
    genres[:, 0] = rng.choice(len(weight), num_playlists, p=weight)
    genres[:, 1] = _related(rng, genres[:, 0], len(weight))
    genres[:, 2] = _related(rng, genres[:, 1], len(weight))
    how_many = rng.choice([1, 2, 3], num_playlists, p=[0.5, 0.35, 0.15])
    genres[how_many < 2, 1] = -1
    genres[(how_many < 3) | (genres[:, 2] == genres[:, 0]), 2] = -1
    return genres


def _draw_entries(rng: np.random.Generator, catalogue: _Catalogue, lengths: np.ndarray, genres: np.ndarray,
                  noise: float, follow: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries of playlists of these lengths (p,) and genres (p, 3): track (e,) int32, noise (e,) bool, and
    how many of them each playlist has (p,). A track drawn twice in a playlist is drawn again, and left out if
    that does not help."""
    playlist = np.repeat(np.arange(len(lengths)), lengths)
    place = places(lengths)
    stage = place * (genres >= 0).sum(1)[playlist] // lengths[playlist]  # which of its genres it is in
    genre = genres[playlist, stage]
    is_noise = rng.random(len(playlist)) < noise
    follows = (rng.random(len(playlist)) < follow) & ~is_noise & (place > 0)
    leader = np.maximum.accumulate(np.where(follows, 0, np.arange(len(playlist))))  # last entry that leads

    track = catalogue.from_genre(rng, genre)
    anywhere = int(is_noise.sum())
    track[is_noise] = catalogue.pool[rng.integers(0, len(catalogue.pool), anywhere)]
    track[follows] = catalogue.beside(rng, track[leader[follows]])

    num_tracks = len(catalogue.popularity)
    for _ in range(4):
        again = _repeated(playlist * num_tracks + track)
        track[again] = catalogue.from_genre(rng, genre[again])
        is_noise[again] = False
    keep = np.ones(len(playlist), bool)
    keep[_repeated(playlist * num_tracks + track)] = False
    return track[keep], is_noise[keep], np.bincount(playlist[keep], minlength=len(lengths))


def _repeated(pair: np.ndarray) -> np.ndarray:
    """Indices of all but the first occurrence of each value."""
    order = np.argsort(pair, kind="stable")
    return order[1:][pair[order[1:]] == pair[order[:-1]]]


def _by_first_appearance(ids: np.ndarray, size: int) -> np.ndarray:
    """(n,) the distinct values of ids (each < size), in the order in which they first appear."""
    first = np.full(size, len(ids), np.int64)
    step = 1 << 22  # in pieces, the last one first, so that the first appearance is written last
    for stop in range(len(ids), 0, -step):
        start = max(0, stop - step)
        first[ids[start:stop][::-1]] = np.arange(stop - 1, start - 1, -1)
    order = np.argsort(first, kind="stable")
    return order[:np.count_nonzero(first < len(ids))]


def _inverse(order: np.ndarray, size: int) -> np.ndarray:
    """(size,) int32: the place of each value in `order`, -1 if it is not there."""
    inverse = np.full(size, -1, np.int32)
    inverse[order] = np.arange(len(order))
    return inverse


# ---- names

def _names(rng: np.random.Generator, size: int, tails: tuple[str, ...]) -> Strings:
    """Distinct invented names: "Velvet Harbor", "Quiet Engine Quartet"; with a number once words run out."""
    pairs = len(ADJECTIVES) * len(NOUNS)
    shuffled = rng.permutation(pairs).tolist()

    def name(i: int) -> str:
        adjective, noun = divmod(shuffled[i % pairs], len(NOUNS))
        round_, tail = divmod(i // pairs, len(tails))
        parts = (ADJECTIVES[adjective], NOUNS[noun], tails[tail], str(round_ + 1) if round_ else "")
        return " ".join(part for part in parts if part)

    return Strings.of(map(name, range(size)))


def _titles(rng: np.random.Generator, genres: np.ndarray, genre_names: list[str]) -> Strings:
    """(P,) titles: genre words with common words for most, common words alone for 15%."""
    num_genres = len(genre_names)
    one = [f"{genre} {mood}" for genre in genre_names for mood in MOODS]
    two = [f"{a} & {b}" for a in genre_names for b in genre_names]
    table = Strings.of(one + two + list(PLAIN))
    first, second = genres[:, 0].astype(np.int64), genres[:, 1].astype(np.int64)
    code = first * len(MOODS) + rng.integers(0, len(MOODS), len(genres))
    both = (second >= 0) & (rng.random(len(genres)) < 0.5)
    code = np.where(both, len(one) + first * num_genres + second, code)
    plain = len(one) + len(two) + rng.integers(0, len(PLAIN), len(genres))
    return table.take(np.where(rng.random(len(genres)) < 0.15, plain, code))


def _uris(rng: np.random.Generator, kind: str, size: int) -> Strings:
    """(size,) distinct URIs: 17 random base-62 characters, then the number in 5 of them."""
    head = np.frombuffer(f"spotify:{kind}:".encode(), np.uint8)
    text = np.empty((size, len(head) + 22), np.uint8)
    text[:, :len(head)] = head
    text[:, len(head):-5] = BASE62[rng.integers(0, 62, (size, 17), np.uint8)]
    for digit in range(5):
        text[:, -1 - digit] = BASE62[np.arange(size) // 62 ** digit % 62]
    return Strings(text.reshape(-1), np.arange(size + 1) * text.shape[1])


# ---- slice files

def write_slices(folder: str | os.PathLike, playlists: Playlists, planted: Planted | None = None) -> None:
    """Write any table as MPD slice files with all their fields, 1,000 playlists a file, into `folder`.

    Files are numbered by row, so that they are read in the order of the table. Reading them gives the same
    table again if it is numbered by first appearance, as `plant` and `read_slices` do. What the table does
    not hold (followers, durations, dates) is made up; with `planted`, a third of the playlists get a
    description that names their genres. The format has no place for a playlist without tracks, or for
    held-out pairs: both are left out."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, playlists.num_playlists, SLICE_SIZE):
        stop = min(start + SLICE_SIZE, playlists.num_playlists)
        info = {"generated_on": "2017-12-03 08:41:42.057563", "slice": f"{start}-{stop - 1}", "version": "v1",
                "description": playlists.note or NOTE}
        rows = list(_slice_rows(playlists, planted, start, stop))
        path = folder / f"mpd.slice.{start}-{stop - 1}.json"
        path.write_text(json.dumps({"info": info, "playlists": rows}), encoding="utf-8")


def _slice_rows(playlists: Playlists, planted: Planted | None, start: int, stop: int) -> Iterator[dict]:
    """The JSON objects of playlists start..stop-1."""
    ends = np.searchsorted(playlists.playlist, np.arange(start, stop + 1))
    track = playlists.track[ends[0]:ends[-1]]
    used = np.unique(track)
    owned = dict(zip(used.tolist(), _track_fields(playlists, used)))  # the same for every entry of a track
    for row in range(start, stop):
        low, high = ends[row - start], ends[row - start + 1]
        entries = [{"pos": pos, **owned[t]} for pos, t in
                   zip(playlists.position[low:high].tolist(), playlists.track[low:high].tolist())]
        if not entries:
            continue
        pid = int(playlists.pids[row])
        head = {"name": playlists.playlist_names[row]}
        if planted is not None and pid % 3 == 0:
            genres = planted.playlist_genres[row]
            head["description"] = ", ".join(planted.genre_names[g] for g in genres[genres >= 0])
        yield {
            **head,
            "collaborative": "true" if pid % 40 == 0 else "false",
            "pid": pid,
            "modified_at": 1_509_494_400 - 86_400 * (pid * 7919 % 1500),  # a midnight in 2013 to 2017
            "num_tracks": len(entries),
            "num_albums": len({e["album_uri"] for e in entries}),
            "num_artists": len({e["artist_uri"] for e in entries}),
            "num_followers": 1 + pid * 31 % 7,
            "num_edits": 1 + len(entries) // 3,
            "duration_ms": sum(e["duration_ms"] for e in entries),
            "tracks": entries,
        }


def _track_fields(playlists: Playlists, tracks: np.ndarray) -> Iterator[dict]:
    """The fields of an entry that its track determines, for each of `tracks`; an unknown artist or album is null."""
    artist, album = playlists.track_artist[tracks], playlists.track_album[tracks]
    columns = {
        "artist_name": _named(playlists.artist_names, artist),
        "track_uri": _named(playlists.track_uris, tracks),
        "artist_uri": _named(playlists.artist_uris, artist),
        "track_name": _named(playlists.track_names, tracks),
        "album_uri": _named(playlists.album_uris, album),
        "duration_ms": (120_000 + tracks.astype(np.int64) * 7919 % 180_000).tolist(),
        "album_name": _named(playlists.album_names, album),
    }
    return (dict(zip(columns, values)) for values in zip(*columns.values()))


def _named(strings: Strings, ids: np.ndarray) -> list[str | None]:
    """The strings at `ids` (n,); None for −1."""
    found = iter(strings.take(ids[ids >= 0]))
    return [next(found) if i >= 0 else None for i in ids.tolist()]


def synthetic_mpd(folder: str | os.PathLike = "data/synthetic", num_playlists: int = 2000,
                  seed: int = 0) -> Path:
    """The folder of a synthetic MPD of this size and seed, below `folder`; it is generated at first use.

    It gets its name only when complete, so an interrupted start, or two at once, leave nothing broken."""
    final = Path(folder) / f"{num_playlists}-playlists-seed-{seed}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        write_slices(part, *plant(num_playlists, seed))
        part.chmod(0o755)  # mkdtemp makes it private
        try:
            part.rename(final)
        except OSError:
            if not final.is_dir():  # otherwise another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return final
