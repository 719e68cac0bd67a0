"""recommending/lookup.py: words find one track, artist or playlist, or are told why not."""
from dataclasses import replace

import numpy as np
import pytest

from common.errors import InputError
from mpd.playlists import Strings
from recommending.lookup import find_artist, find_playlist, find_track, words


def test_names_are_compared_as_people_write_them():
    assert words("Beyoncé – Déjà Vu (Live)") == ["beyonce", "deja", "vu", "live"]


def test_lookups_find_one_or_say_why(planted):
    table = planted[0]
    t = next(t for t in range(table.num_tracks) if table.track_names.tolist().count(table.track_names[t]) == 1)
    artist = table.artist_names[int(table.track_artist[t])]
    assert find_track(table, table.track_uris[t]) == t
    assert find_track(table, f"{artist.upper()}, {table.track_names[t]}") == t
    names = table.playlist_names.tolist()
    twice = next(name for name in names if names.count(name) > 1)
    with pytest.raises(InputError, match=rf"{names.count(twice)} fit: pid \d+"):
        find_playlist(table, twice)
    once = next(p for p, name in enumerate(names) if sum(words(name) == words(n) for n in names) == 1)
    assert find_playlist(table, names[once].upper()) == once == find_playlist(table, str(table.pids[once]))
    assert find_artist(table, table.artist_uris[3]) == 3
    for find, query, match in [
            (find_track, "spotify:track:nowhere", "not among"), (find_track, "Qqqq", "none here"),
            (find_track, table.track_names[t][:-1] + "x", "near it"), (find_playlist, "99999", "none here"),
            (find_artist, "Qqqq", "none here"), (find_track, "", "none here")]:
        with pytest.raises(InputError, match=match):
            find(table, query)


def test_names_without_letters_are_found_as_they_are(planted):
    table = planted[0]
    names = table.playlist_names.tolist()
    names[3], names[4], names[5] = "🎉", "party 🎉", "party"
    table = replace(table, playlist_names=Strings.of(names))
    assert [find_playlist(table, name) for name in ("🎉", "party 🎉")] == [3, 4]
    with pytest.raises(InputError, match="none here by its pid or its name$"):
        find_playlist(table, "!!!")


def test_one_song_under_two_uris_is_the_popular_one(planted):
    table = planted[0]
    names, artist = table.track_names.tolist(), table.track_artist.copy()
    names[4], names[9], artist[9] = "Only Here", "ONLY here", artist[4]
    table = replace(table, track_names=Strings.of(names), track_artist=artist)
    popularity = np.zeros(table.num_tracks)
    popularity[9] = 5
    assert find_track(table, "only here", popularity) == 9 and find_track(table, "only here") == 4
