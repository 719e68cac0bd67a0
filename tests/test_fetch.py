"""fetch_audio_features.py as a user meets it, against the server of services.py."""
import sys

import numpy as np
import pytest

import fetch_audio_features as fetching
from audio.store import FOUND, MISSING, Record, read_store, track_features
from common import cli
from common.errors import InputError
from mpd.kcore import k_core
from mpd.planted import Sizes
from mpd.synthetic import plant
from mpd.writer import write_slices

from services import dump, uri

pytestmark = pytest.mark.usefixtures("slept")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Slices whose tracks end in four digits, as the server's answers need them, and their table."""
    playlists, planted = plant(num_playlists=40, seed=3, sizes=Sizes(tracks=150, artists=30, albums=40))
    playlists.track_uris = type(playlists.track_uris).of(map(uri, range(playlists.num_tracks)))
    playlists.note = "a test"
    folder = tmp_path_factory.mktemp("audio")
    write_slices(folder, playlists, planted)
    return folder, playlists


def test_the_command_asks_for_the_core_and_the_frequent_first(server, data, capsys):
    folder, playlists = data
    store = fetching.main(["--source", "reccobeats", "--data", str(folder), "--api-url", f"{server.url}/reccobeats/",
                           "--k-core", "6", "--limit", "60"])
    asked = [int(i) for ids in server.asked for i in ids]
    core = {int(u[-22:]) for u in k_core(playlists, 6).track_uris}
    count = np.bincount(playlists.track, minlength=playlists.num_tracks)
    order = sorted(range(playlists.num_tracks), key=lambda t: (t not in core, -count[t], t))
    assert asked == order[:60] and 0 < len(core) < playlists.num_tracks
    out = capsys.readouterr().out.splitlines()
    assert f"{len(core)} of them in the 6-core" in out[0]
    assert out[-1] == f"next: python train.py --data {folder} --k-core 6 --features {store}"
    fetching.main(["--source", "reccobeats", "--data", str(folder), "--api-url", f"{server.url}/reccobeats"])
    assert sorted(int(i) for ids in server.asked for i in ids) == list(range(playlists.num_tracks))
    assert track_features(store, playlists)[2] == 1


def test_a_dry_run_asks_nothing_and_writes_nothing(server, data, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("SPOTIFY_CLIENT_ID")
    fetching.main(["--source", "spotify", "--data", str(data[0]), "--api-url", server.url, "--token-url", server.url,
                   "--dry-run", "--store", str(tmp_path / "new.jsonl")])
    assert not server.asked and not server.tokens and not (tmp_path / "new.jsonl").exists()
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("next: python fetch_audio_features.py --source spotify") and "--dry-run" not in out[-1]
    assert f"{data[1].num_tracks} tracks in 2 requests" in out[-2]


def test_it_is_quiet_without_a_terminal(server, data, capsys):
    server.script = [(429, "30")]
    fetching.main(["--source", "reccobeats", "--data", str(data[0]), "--api-url", f"{server.url}/reccobeats"])
    assert capsys.readouterr().err == ""


def test_sqlite_source(data, tmp_path):
    folder, playlists = data
    rows = [(0.5, f"title {i}", uri(i)[-22:], i % 12) for i in range(100)] + [(None, "empty", uri(100)[-22:], None)]
    create = "CREATE TABLE extracted (energy REAL, title TEXT, id TEXT PRIMARY KEY, key INT)"
    path = dump(tmp_path / "a dump?.db", create, rows)
    before = path.read_bytes()
    store = fetching.main(["--source", "sqlite", "--sqlite", str(path), "--data", str(folder)])
    records = {record.uri: record for record in read_store(store)}
    assert len(records) == playlists.num_tracks
    assert records[uri(13)] == Record(uri(13), "sqlite", FOUND, {"energy": 0.5, "key": 1.0})
    assert {records[uri(i)].state for i in range(100, playlists.num_tracks)} == {MISSING}
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["a dump?.db", "data"]


# ---- what a user does wrong ------------------------------------------------------------------------------------------

def test_missing_credentials_are_said_before_anything_is_read(monkeypatch):
    monkeypatch.delenv("SPOTIFY_CLIENT_SECRET")
    with pytest.raises(InputError, match="SPOTIFY_CLIENT_SECRET"):
        fetching.main(["--source", "spotify", "--data", "nowhere"])


def test_invented_tracks_are_not_asked_of_a_public_service(slices):
    with pytest.raises(InputError, match="synthetic"):
        fetching.main(["--source", "reccobeats", "--data", str(slices)])


@pytest.mark.parametrize("argv, match", [
    ([], "--source"), (["--source", "napster"], "napster"), (["--source", "sqlite"], "--sqlite"),
    (["--source", "spotify", "--sqlite", "x.db"], "--sqlite"), (["--source", "reccobeats", "--limit", "0"], "--limit"),
    (["--source", "reccobeats", "--timeout", "0"], "--timeout"),
    (["--source", "reccobeats", "--max-wait", "nan"], "--max"),
    (["--source", "reccobeats", "--api-url", "api.example"], "--api-url")])
def test_wrong_flags_are_one_line(argv, match):
    with pytest.raises(InputError, match=match):
        fetching.main(argv)


def test_an_error_is_one_line_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fetch_audio_features.py", "--source", "sqlite", "--sqlite", "none.db"])
    with pytest.raises(SystemExit) as left:
        cli.run(fetching.main)
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_data_without_spotify_tracks_are_refused(tmp_path):
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("0 1 2\n")
    with pytest.raises(InputError, match="spotify:track:"):
        fetching.main(["--source", "reccobeats", "--data", str(tmp_path)])
