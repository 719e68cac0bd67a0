"""recommending/challenge.py: challenge sets that are read or refused, submissions that are valid or not."""
import gzip
import json
from pathlib import Path

import pytest

import recommend
from common.errors import InputError
from recommending import Recommender
from recommending.challenge import TRACKS, check_submission, read_challenge


@pytest.fixture(scope="module")
def challenge(planted, tmp_path_factory):
    """A challenge set of the ten kinds, from planted playlists, some of it outside the catalogue."""
    table, folder, playlists = planted[0], tmp_path_factory.mktemp("challenge"), []
    kinds = [(True, 0), (True, 1), (True, 5), (False, 5), (True, 10), (False, 10), (True, 25), (True, 2), (False, 0),
             (True, 0)]                                                         # (title?, tracks shown)
    for i, (titled, n) in enumerate(kinds):
        tracks = table.track[table.playlist == i][:n]
        entries = [{"pos": pos, "track_uri": table.track_uris[t]} for pos, t in enumerate(tracks)]
        entries += [{"pos": 99, "track_uri": f"spotify:track:{'x' * 22}"}] * (i == 7)
        playlists.append({"pid": 5000 + i, "num_holdouts": 3, "num_samples": len(entries),
                          "num_tracks": len(entries) + 3, "tracks": entries})
        playlists[i] |= {"name": table.playlist_names[i]} if titled else {}
    playlists[9]["name"] = "no such word"
    path = folder / "challenge_set.json"
    path.write_text(json.dumps({"date": "2018", "version": "v1", "playlists": playlists}))
    return path


def test_a_challenge_is_answered_and_passes_the_checker(trained, challenge, capsys):
    flags = ["--challenge", str(challenge)]
    recommend.main(["--run", str(trained), *flags, "--out", "submission.csv.gz"])
    assert "10 playlists, 2 of them by popularity" in capsys.readouterr().out
    recommend.main([*flags, "--check", "submission.csv.gz"])
    lines = [line.strip().split(", ") for line in gzip.open("submission.csv.gz", "rt").readlines()[2:]]
    music = Recommender.load(trained)
    popular = music.counts.argsort(descending=True, stable=True)[:TRACKS].tolist()
    assert lines[8][1:] == [music.run.playlists.track_uris[t] for t in popular] == lines[9][1:]
    recommend.main(["--run", str(trained), *flags, "--out", "capped.csv", "--artist-cap", "8"])
    assert check_submission("capped.csv", read_challenge(challenge)) == []


def test_the_checker_knows_every_rule(trained, challenge, tmp_path):
    recommend.main(["--run", str(trained), "--challenge", str(challenge), "--out", "good.csv"])
    good, tasks = open("good.csv").read().splitlines(), read_challenge(challenge)
    head, rows = good[0], good[2:]

    def wrong(*lines):
        (tmp_path / "bad.csv").write_text("\n".join(lines))
        return " | ".join(check_submission(tmp_path / "bad.csv", tasks))
    assert wrong(*good) == "" and wrong("# a comment", "", *good) == ""
    fields = rows[2].split(", ")
    def changed(i, value):
        return ", ".join(fields[:i] + [value] * (value is not None) + fields[i + 1:])
    cases = {
        "the first line must be team_info": rows,
        "must be main or creative": ["team_info,us,fast,a@b.c", *rows],
        "no e-mail address": ["team_info,us,main,me", *rows],
        "names no team": ["team_info,,main,a@b.c", *rows],
        "team_info has 2 values": ["team_info,us,main", *rows],
        "1 playlists have no line, the first is pid 5009": [head, *rows[:-1]],
        "has 499 tracks": [head, changed(7, None), *rows[:2], *rows[3:]],
        "has 501 tracks": [head, rows[2] + f", spotify:track:{'y' * 22}", *rows[:2], *rows[3:]],
        f"names {fields[3]} twice": [head, changed(7, fields[3]), *rows[:2], *rows[3:]],
        "which the playlist shows": [head, changed(7, tasks[2].tracks[0]), *rows[:2], *rows[3:]],
        "is no track URI": [head, changed(7, "spotify:track:short"), *rows[:2], *rows[3:]],
        "is not in the challenge set": [head, changed(0, "77"), *rows],
        "a second time": [head, *rows, rows[2]],
        "is no pid": [head, "x, y", *rows],
        "the file is empty": [],
    }
    for text, lines in cases.items():
        assert text in wrong(*lines), text
    with pytest.raises(InputError, match="bad.csv: line 3.*has 499 tracks"):
        (tmp_path / "bad.csv").write_text("\n".join([head, "", changed(7, None), *rows[:2], *rows[3:]]))
        recommend.main(["--challenge", str(challenge), "--check", str(tmp_path / "bad.csv")])


@pytest.mark.parametrize("text, match", [
    ("{", "cannot be read"), ("[]", "no list"), ('{"playlists": []}', "no list"),
    ('{"playlists": [{"tracks": []}]}', "playlist 0: has no whole number"),
    ('{"playlists": [{"pid": 1, "tracks": [{}]}]}', "pid 1.*track_uri"),
    ('{"playlists": [{"pid": 1}, {"pid": 1}]}', "a second time"),
    ('{"playlists": [{"pid": -1}]}', "no whole number"), ("[" * 200_000, "cannot be read"),
    ('{"playlists": [{"pid": 1, "tracks": [{"track_uri": "x", "pos": null}]}]}', "pos")])
def test_broken_challenge_sets_are_refused(tmp_path, text, match):
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(InputError, match=match):
        read_challenge(tmp_path / "set.json")


def test_what_a_challenge_would_refuse_is_not_written(trained, challenge):
    for team in (["--team", "a,b"], ["--team", ""], ["--email", "nope"]):
        with pytest.raises(InputError, match="--team"):
            recommend.main(["--run", str(trained), "--challenge", str(challenge), "--out", "s.csv", *team])
    assert not list(Path(".").glob("*s.csv*"))


def test_a_damaged_submission_is_one_line(trained, challenge, tmp_path):
    recommend.main(["--run", str(trained), "--challenge", str(challenge), "--out", "s.csv.gz"])
    data = bytearray(open("s.csv.gz", "rb").read())
    for damaged in (data[:-20], data[:200] + bytes([data[200] ^ 255]) + data[201:]):
        (tmp_path / "d.csv.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read|line"):
            recommend.main(["--challenge", str(challenge), "--check", str(tmp_path / "d.csv.gz")])
