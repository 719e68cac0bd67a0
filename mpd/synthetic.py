"""Planted playlists: a synthetic Million Playlist Dataset of any size, and what was planted in it.

The model. A catalogue of music has genres and popular tracks (mpd/planted.py). A playlist has one to three
related genres and passes through them in order, so its end says most about what would come next. Most entries
are drawn by popularity from the genre of the moment, some continue with the artist or the album of an entry
before them, some are noise from anywhere. The title is made of genre words and common words.
"""

import inspect
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from mpd.planted import ALBUM_TAILS, ARTIST_TAILS, NOTE, TRACK_TAILS, Catalogue, Planted, Sizes, names, related, uris
from mpd.playlists import NO_COUNTS, Playlists, Strings, places
from mpd.writer import write_slices

CHUNK = 20_000  # playlists drawn at a time: bounds the temporaries to about 200 MB
MOODS = "mix vibes essentials party roadtrip favourites radio classics nights workout".split()
PLAIN = ("summer", "chill", "car", "good stuff", "sleep", "running", "party", "mixtape", "old and new",
         "throwback")


def plant(num_playlists: int = 2000, seed: int = 0, mean_length: float = 30.0, sizes: Sizes = Sizes(),
          noise: float = 0.1, follow: float = 0.3) -> tuple[Playlists, Planted]:
    """Draw a table of playlists from the planted model; the same arguments give the same table.

    mean_length  of a playlist; lengths are log-normal, cut to 5..250
    sizes        of the catalogue; what is None grows with the number of playlists as the MPD's does
    noise        share of entries drawn from the whole catalogue
    follow       share of entries that continue with the artist or album of an entry before them

    The table is numbered as `read_slices` would number it: by first appearance, without what never appears.
    Memory grows linearly: about 30 bytes an entry at the peak."""
    recipe = _recipe(**locals())
    rng = np.random.default_rng(seed)
    num_tracks, num_artists, num_albums, _ = sizes = sizes.filled(num_playlists)
    catalogue = Catalogue.draw(rng, sizes)

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
        track_uris=uris(rng, "track", len(tracks)), track_names=names(rng, len(tracks), TRACK_TAILS),
        artist_uris=uris(rng, "artist", len(artists)), artist_names=names(rng, len(artists), ARTIST_TAILS),
        album_uris=uris(rng, "album", len(albums)), album_names=names(rng, len(albums), ALBUM_TAILS),
        counts=NO_COUNTS | {"entries": len(track)},
        note=f"{NOTE}: plant {recipe}",
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
    recipe = json.loads(found[1])
    sizes = Sizes(*(recipe.pop(f"num_{kind}", None) for kind in Sizes._fields))
    table, planted = plant(**recipe, sizes=sizes)
    genre = dict(zip(table.track_uris, planted.track_genre.tolist()))
    return np.array([genre.get(uri, -1) for uri in playlists.track_uris], dtype=np.int32), planted.genre_names


def _recipe(num_playlists: int, seed: int, mean_length: float, sizes: Sizes, noise: float, follow: float) -> str:
    """The arguments of `plant` as JSON without those left at their defaults, the sizes as num_tracks and so on."""
    usual = {name: argument.default for name, argument in inspect.signature(plant).parameters.items()}
    num = {f"num_{kind}": size for kind, size in sizes._asdict().items()}  # None by default
    more = {"mean_length": mean_length, **num, "noise": noise, "follow": follow}
    unusual = {name: value for name, value in more.items() if value != usual.get(name)}
    return json.dumps({"num_playlists": num_playlists, "seed": seed, **unusual})


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


# ---- the model

def _playlist_genres(rng: np.random.Generator, weight: np.ndarray, num_playlists: int) -> np.ndarray:
    """(P, 3) int32: half of the playlists have one genre, 35% two, 15% three; -1 padding."""
    genres = np.empty((num_playlists, 3), np.int32)
    genres[:, 0] = rng.choice(len(weight), num_playlists, p=weight)
    genres[:, 1] = related(rng, genres[:, 0], len(weight))
    genres[:, 2] = related(rng, genres[:, 1], len(weight))
    how_many = rng.choice([1, 2, 3], num_playlists, p=[0.5, 0.35, 0.15])
    genres[how_many < 2, 1] = -1
    genres[(how_many < 3) | (genres[:, 2] == genres[:, 0]), 2] = -1
    return genres


def _draw_entries(rng: np.random.Generator, catalogue: Catalogue, lengths: np.ndarray, genres: np.ndarray,
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
