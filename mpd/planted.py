"""The music of a planted Million Playlist Dataset: genres, artists, albums, tracks, and what they are called.

Artists have a genre, and half of them a style, a second genre. Artists have albums, albums have tracks; within a
genre the popularity of tracks falls off like Zipf's law, and popular tracks cluster on popular artists.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpd.playlists import Strings

NOTE = "SYNTHETIC playlists from a planted model (mpd/synthetic.py): invented music, invented listeners"
BASE62 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)

GENRES = ("rock jazz techno folk soul metal disco blues reggae ambient punk country gospel house opera "
          "funk salsa grime swing flamenco bossa trance ska dub").split()
SHADES = ("indie dark nordic latin deep acid progressive desert electric urban lo-fi symphonic garage "
          "southern").split()
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


class Sizes(NamedTuple):
    """How many of each there are in a catalogue; None = as many as fit the number of playlists."""
    tracks: int | None = None
    artists: int | None = None
    albums: int | None = None
    genres: int | None = None

    def filled(self, num_playlists: int) -> "Sizes":
        """All four: they grow with the number of playlists as the MPD's do, and every artist has an album with a
        track."""
        tracks = self.tracks or round(6500 * (num_playlists / 2000) ** 0.95) + 40
        artists = min(self.artists or round(0.15 * tracks) + 1, tracks)
        albums = max(min(self.albums or round(0.3 * tracks) + 1, tracks), artists)
        genres = self.genres or max(3, round(16 * (num_playlists / 2000) ** 0.3))
        return Sizes(tracks, artists, albums, min(genres, len(GENRES) * (len(SHADES) + 1)))


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


@dataclass
class Catalogue:
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
    def draw(cls, rng: np.random.Generator, sizes: Sizes) -> "Catalogue":
        """A catalogue of these sizes, none of them None."""
        num_tracks, num_artists, num_albums, num_genres = sizes
        shaded = [f"{shade} {genre}" for shade in SHADES for genre in GENRES]
        genre_weight = (np.arange(num_genres) + 4.0) ** -0.7  # some genres are bigger than others
        genre_weight /= genre_weight.sum()
        genre_of_artist = rng.choice(num_genres, num_artists, p=genre_weight).astype(np.int32)
        genre_of_artist[:num_genres] = np.arange(num_artists)[:num_genres]  # no genre without an artist
        style_of_artist = related(rng, genre_of_artist, num_genres)
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


def related(rng: np.random.Generator, genre: np.ndarray, num_genres: int) -> np.ndarray:
    """A genre near each given one: genres lie on a ring, and the two on either side are related."""
    return ((genre + rng.choice([-2, -1, 1, 2], len(genre))) % num_genres).astype(np.int32)


def names(rng: np.random.Generator, size: int, tails: tuple[str, ...]) -> Strings:
    """Distinct invented names: "Velvet Harbor", "Quiet Engine Quartet"; with a number once words run out."""
    pairs = len(ADJECTIVES) * len(NOUNS)
    shuffled = rng.permutation(pairs).tolist()

    def name(i: int) -> str:
        adjective, noun = divmod(shuffled[i % pairs], len(NOUNS))
        round_, tail = divmod(i // pairs, len(tails))
        parts = (ADJECTIVES[adjective], NOUNS[noun], tails[tail], str(round_ + 1) if round_ else "")
        return " ".join(part for part in parts if part)

    return Strings.of(map(name, range(size)))


def uris(rng: np.random.Generator, kind: str, size: int) -> Strings:
    """(size,) distinct URIs: 17 random base-62 characters, then the number in 5 of them."""
    head = np.frombuffer(f"spotify:{kind}:".encode(), np.uint8)
    text = np.empty((size, len(head) + 22), np.uint8)
    text[:, :len(head)] = head
    text[:, len(head):-5] = BASE62[rng.integers(0, 62, (size, 17), np.uint8)]
    for digit in range(5):
        text[:, -1 - digit] = BASE62[np.arange(size) // 62 ** digit % 62]
    return Strings(text.reshape(-1), np.arange(size + 1) * text.shape[1])
