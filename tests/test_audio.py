"""fetch_audio_features.py against a real HTTP server that misbehaves on demand; audio/store.py by hand."""
import base64
import json
import os
import socket
import sqlite3
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import fetch_audio_features as fetching
from audio import sources
from common import cli
from common.errors import InputError
from mpd.kcore import k_core
from audio.store import (DENIED, FEATURES, FOUND, MISSING, RETRY, Record, Store, read_store, track_features,
                       write_synthetic)
from mpd.planted import Sizes
from mpd.synthetic import plant
from mpd.writer import write_slices

CLIENT_ID, SECRET = "the-client-id", "the-client-secret"


# ---- the server

class Server(ThreadingHTTPServer):
    """Spotify under /spotify and /token, ReccoBeats under /reccobeats.

    script   what to do with the next requests for features; "ok" once it is used up, or `always`
    asked    the ids of every request for features, in the order of arrival
    tokens   how many were given out; only the latest is accepted
    """
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.script, self.always = [], "ok"
        self.asked, self.tokens, self.life, self.credentials_ok = [], 0, 3600, True
        self.unknown, self.released = set(), threading.Event()

    def handle_error(self, request, client_address):
        """A client that hangs up on a slow answer is part of the game."""


class Handler(BaseHTTPRequestHandler):
    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", -1, True

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def do_POST(self):
        server = self.server
        self.rfile.read(int(self.headers["Content-Length"]))
        expected = "Basic " + base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
        if self.headers["Authorization"] != expected or not server.credentials_ok:
            return self.send(400, b'{"error": "invalid_client"}')
        server.tokens += 1
        self.send(200, json.dumps({"access_token": f"token-{server.tokens}", "expires_in": server.life}).encode())

    def do_GET(self):
        server = self.server
        address = urlsplit(self.path)
        ids = parse_qs(address.query)["ids"][0].split(",")
        server.asked.append(ids)
        act = server.script.pop(0) if server.script else server.always
        spotify = address.path.startswith("/spotify")
        if spotify and self.headers["Authorization"] != f"Bearer token-{server.tokens}":
            return self.send(401)
        body = json.dumps(self.spotify(ids, act) if spotify else self.reccobeats(ids, act)).encode()
        if isinstance(act, tuple):
            return self.send(act[0], Retry_After=act[1])
        if isinstance(act, int):
            return self.send(act)
        if act == "truncated":
            return self.send(200, body[:len(body) // 2])
        if act == "cut off":
            return self.send(200, body[:len(body) // 2], length=len(body))
        if act == "other form":
            return self.send(200, b'{"content": null, "audio_features": 3}')
        if act == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return os.close(self.connection.detach())           # with SO_LINGER 0: a reset, not an orderly end
        if act == "silence":
            server.released.wait(5)
            self.close_connection = True
            return None
        return self.send(200, body)

    def spotify(self, ids, act):
        entries = [None if i in self.server.unknown else {"id": i, "type": "audio_features", **answer(i)} for i in ids]
        return {"audio_features": entries[:1] if act == "partial" else entries}

    def reccobeats(self, ids, act):
        known = [i for i in ids[:40] if i not in self.server.unknown]
        return {"content": [{"id": "own", "href": f"https://open.spotify.com/track/{i}", **answer(i)} for i in known]}


def answer(track_id):
    """Features that tell which track they are of."""
    return {"energy": int(track_id[-4:]) / 1000, "key": 7}


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def slept(monkeypatch):
    """The seconds that would have been slept; and credentials, and no proxy between the client and the server."""
    seconds = []
    monkeypatch.setattr(sources, "sleep", seconds.append)
    monkeypatch.setenv("SPOTIFY_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("SPOTIFY_CLIENT_SECRET", SECRET)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return seconds


def uri(number):
    return f"spotify:track:{number:022d}"


@pytest.fixture
def ask(server, tmp_path):
    """ask(n, source) asks the server for tracks 0…n-1, as far as the store leaves them open → the store."""
    def run(n, source="reccobeats", path=tmp_path / "store.jsonl", timeout=5.0, max_wait=600.0):
        store = Store(path, source)
        http = sources.Http(timeout, max_wait)
        source = sources.make_source(source, None, http, f"{server.url}/{source}", f"{server.url}/token")
        fetching.fetch(source, store, fetching.open_tracks([uri(i) for i in range(n)], store.state))
        return store
    return run


def states(path):
    """{URI: state} as the last lines say."""
    return {record.uri: record.state for record in read_store(path)}


# ---- answers

@pytest.mark.parametrize("source, sizes", [("spotify", [100, 100, 50]), ("reccobeats", [40] * 6 + [10])])
def test_batches_and_what_is_stored(server, ask, source, sizes):
    store = ask(250, source)
    assert [len(ids) for ids in server.asked] == sizes
    assert [i for ids in server.asked for i in ids] == [uri(n)[-22:] for n in range(250)]
    records = list(read_store(store.path))
    assert [r.features for r in records] == [answer(r.uri) for r in records]
    assert {r.source for r in records} == {source} and {r.state for r in records} == {FOUND} and len(records) == 250
    ask(250, source)
    assert len(server.asked) == len(sizes)


@pytest.mark.parametrize("source", ["spotify", "reccobeats"])
def test_unknown_tracks_are_missing_and_not_asked_for_again(server, ask, source):
    server.unknown = {uri(1)[-22:], uri(2)[-22:]}
    store = ask(4, source)
    assert store.state == states(store.path) == {uri(0): FOUND, uri(1): MISSING, uri(2): MISSING, uri(3): FOUND}
    ask(4, source)
    assert len(server.asked) == 1


def test_another_source_is_asked_for_what_the_first_did_not_find(server, ask):
    server.unknown = {uri(1)[-22:]}
    ask(3, "reccobeats")
    server.unknown = set()
    store = ask(3, "spotify")
    assert server.asked[1:] == [[uri(1)[-22:]]]
    assert store.state == dict.fromkeys(map(uri, range(3)), FOUND)


def test_tracks_left_out_of_a_partial_answer_are_retried(server, ask):
    server.script = ["partial"]
    assert ask(3, "spotify").state == {uri(0): FOUND, uri(1): RETRY, uri(2): RETRY}
    assert ask(3, "spotify").state == dict.fromkeys(map(uri, range(3)), FOUND)
    assert server.asked[1] == [uri(1)[-22:], uri(2)[-22:]]


def test_an_entry_without_usable_numbers_is_missing():
    assert sources.numbers({"energy": None, "tempo": "fast", "valence": float("nan"), "id": 3}) == {}
    assert sources.record("s", uri(0), {}, RETRY).state == MISSING


# ---- trouble that passes

@pytest.mark.parametrize("trouble", [429, 500, 503, "truncated", "cut off", "other form", "reset", "silence"])
@pytest.mark.parametrize("source", ["spotify", "reccobeats"])
def test_passing_trouble_is_waited_out(server, ask, slept, trouble, source):
    server.script = [trouble, trouble] if trouble != "silence" else [trouble]
    times = len(server.script)
    store = ask(3, source, timeout=0.15 if trouble == "silence" else 5)
    assert set(store.state.values()) == {FOUND} and len(store.state) == 3
    assert len(server.asked) == times + 1
    assert all(2 ** i / 2 <= seconds <= 2 ** i for i, seconds in enumerate(slept)) and len(slept) == times


def test_retry_after_is_honoured(server, ask, slept):
    server.script = [(429, "17"), (503, "3"), (429, "0"), (429, "Wed, 21 Oct 2015 07:28:00 GMT")]
    ask(1)
    assert slept[:2] == [17, 3]
    assert 2 <= slept[2] <= 4 and 4 <= slept[3] <= 8           # 0 and a date: back-off


def test_retry_after_is_honoured_by_the_next_batch_too(server, ask, slept):
    server.script = [(429, "9")] * sources.ATTEMPTS
    ask(41)
    assert slept == [9] * sources.ATTEMPTS and len(server.asked) == sources.ATTEMPTS + 1


def test_a_very_long_retry_after_ends_the_run(server, ask, slept):
    server.script = ["ok", (429, "86400")]
    with pytest.raises(InputError, match="1440 minutes"):
        ask(41)
    assert not slept and states("store.jsonl") == dict.fromkeys(map(uri, range(40)), FOUND)


def test_back_off_is_capped_and_ends(server, ask, slept):
    server.always = 500
    with pytest.raises(InputError, match="HTTP 500"):
        ask(400)
    assert len(server.asked) == fetching.GIVE_UP * sources.ATTEMPTS
    assert max(slept) <= sources.LONGEST_PAUSE and slept[6] >= sources.LONGEST_PAUSE / 2
    assert states("store.jsonl") == dict.fromkeys(map(uri, range(120)), RETRY)
    server.always = "ok"
    assert len(ask(400).state) == 400
    assert server.asked[21][0] == uri(120)[-22:]                # those never asked for come first
    assert set(states("store.jsonl").values()) == {FOUND}


def test_one_lasting_failure_does_not_hold_up_the_rest(server, ask):
    server.script = [500] * sources.ATTEMPTS
    store = ask(90)
    assert [store.state[uri(i)] for i in (0, 39, 40, 89)] == [RETRY, RETRY, FOUND, FOUND]


# ---- credentials

def test_a_token_that_ends_midway_is_refreshed_once(server, ask):
    server.script = ["ok", 401]
    assert set(ask(250, "spotify").state.values()) == {FOUND}
    assert server.tokens == 2 and [len(ids) for ids in server.asked] == [100, 100, 100, 50]


def test_a_fresh_token_that_is_refused_ends_the_run(server, ask):
    server.always = 401
    with pytest.raises(InputError, match="HTTP 401"):
        ask(1, "spotify")
    assert server.tokens == 2 and len(server.asked) == 2


@pytest.mark.parametrize("life, tokens", [(3600, 1), (sources.TOKEN_MARGIN, 3)])
def test_a_token_is_used_until_shortly_before_its_end(server, ask, life, tokens):
    server.life = life
    ask(300, "spotify")
    assert server.tokens == tokens


def test_wrong_credentials_are_said(server, ask):
    server.credentials_ok = False
    with pytest.raises(InputError, match="SPOTIFY_CLIENT_ID"):
        ask(1, "spotify")
    assert not server.asked


def test_missing_credentials_are_said_before_anything_is_read(monkeypatch):
    monkeypatch.delenv("SPOTIFY_CLIENT_SECRET")
    with pytest.raises(InputError, match="SPOTIFY_CLIENT_SECRET"):
        fetching.main(["--source", "spotify", "--data", "nowhere"])


@pytest.mark.parametrize("source", ["spotify", "reccobeats"])
def test_403_ends_the_run_at_once_and_names_the_alternatives(server, ask, slept, source):
    server.script = ["ok", 403]
    with pytest.raises(InputError, match="2024-11-27.*sqlite|sqlite.*2024-11-27"):
        ask(250, source)
    assert len(server.asked) == 2 and not slept
    size = len(server.asked[0])
    assert list(states("store.jsonl").values()) == [FOUND] * size + [DENIED] * size
    assert len(ask(250, source).state) == 250


@pytest.mark.parametrize("trouble", ["ok", 401, 403, 500, "other form"])
def test_credentials_are_nowhere_to_be_seen(server, ask, capsys, caplog, tmp_path, trouble):
    caplog.set_level("DEBUG")
    server.always = trouble
    try:
        said = str(ask(3, "spotify"))
    except InputError as error:
        said = str(error)
    captured = capsys.readouterr()
    stored = (tmp_path / "store.jsonl").read_text()
    for text in (said, captured.out, captured.err, caplog.text, stored):
        for secret in (CLIENT_ID, SECRET, "token-", base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()):
            assert secret not in text


# ---- the store

def test_a_store_cut_at_any_byte_is_read_and_resumed(server, ask, tmp_path):
    server.unknown = {uri(1)[-22:]}
    whole = ask(2).path.read_bytes()
    kept = []
    for cut in range(len(whole) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:cut])
        complete = [record.uri for record in read_store(path)]
        kept.append(len(complete))
        assert complete == [uri(i) for i in range(whole[:cut].count(b"\n"))]
        server.asked.clear()
        ask(2, path=path)
        rest = [uri(i)[-22:] for i in range(len(complete), 2)]
        assert server.asked == ([rest] if rest else [])
        assert path.read_bytes() == whole
    assert sorted(set(kept)) == [0, 1, 2]


def test_only_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "store.jsonl"
    many = [Record(uri(i), "s", FOUND, {"energy": 0.5}) for i in range(2000)]      # more than is read at the end
    with Store(path, "s") as store:
        store.append(many)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    with Store(path, "s"):
        pass
    assert path.read_bytes() == whole and list(read_store(path)) == many


@pytest.mark.parametrize("text", ["pid,track\n", "pid,track", "[1]\n", '{"uri":"u","source":"s","state":"lost"}\n',
                                  '{"uri":"u","source":"s"}\n', "\n", '{"uri":"u","source":"s","state":"found",'
                                  '"features":{"energy":"high"}}\n', "\x00\x00\x00"])
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "notes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="notes.csv, line 1"):
        Store(path, "s")
    assert path.read_text() == text


def test_found_overrules_and_later_words_of_a_source_replace_earlier_ones(tmp_path):
    path = tmp_path / "store.jsonl"
    with Store(path, "a") as store:
        store.append([Record(uri(0), "a", RETRY), Record(uri(0), "a", MISSING), Record(uri(1), "b", FOUND, {"key": 1}),
                      Record(uri(1), "a", MISSING), Record(uri(2), "b", DENIED)])
    assert store.state == Store(path, "a").state == {uri(0): MISSING, uri(1): FOUND}
    assert Store(path, "b").state == {uri(1): FOUND, uri(2): DENIED}


# ---- the command

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


# ---- the dump

def dump(path, create, rows=()):
    with sqlite3.connect(path) as database:
        database.execute(create)
        for row in rows:
            database.execute(f"INSERT INTO extracted VALUES ({', '.join('?' * len(row))})", row)
    database.close()
    return path


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


@pytest.mark.parametrize("create, match", [
    ("CREATE TABLE other (id TEXT)", "no table `extracted`"),
    ("CREATE TABLE extracted (uri TEXT, energy REAL)", "`id`"),
    ("CREATE TABLE extracted (id TEXT, title TEXT)", "it has id, title")])
def test_a_dump_of_another_form_is_refused(tmp_path, create, match):
    with pytest.raises(InputError, match=match):
        sources.Sqlite(dump(tmp_path / "dump.db", create))


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(InputError, match="text.db"):
        sources.Sqlite(tmp_path / "text.db")


# ---- the table

def test_track_features_by_hand(planted, tmp_path):
    playlists = planted[0].select(np.ones(planted[0].num_playlists, bool), np.arange(planted[0].num_tracks) < 4)
    uris = playlists.track_uris.tolist()
    with Store(tmp_path / "store.jsonl", "s") as store:
        store.append([
            Record(uris[0], "s", MISSING), Record(uris[0], "t", FOUND, {"tempo": 100.0, "key": 0, "mode": 1}),
            Record(uris[1], "s", FOUND, {"tempo": 90.0}),
            Record(uris[1], "s", FOUND, {"tempo": 140.0, "key": -1, "mode": 1}),
            Record(uris[2], "s", FOUND, {"tempo": 120.0, "key": 6, "mode": 1}), Record(uris[2], "t", MISSING),
            Record(uris[3], "s", DENIED), Record(uri(0), "s", FOUND, {"tempo": 1e6, "energy": 1})])
    features, names, coverage = track_features(tmp_path / "store.jsonl", playlists)
    assert names == ["mode", "tempo", "key_sin", "key_cos", "missing"] and coverage == 0.75
    root = 1.5 ** 0.5           # tempo: mean 120, variance (20² + 20² + 0) / 3; C and F sharp: opposite keys
    assert features.dtype.is_floating_point and features.shape == (4, 5)
    np.testing.assert_allclose(features, [[0, -root, 0, 1, 0], [0, root, 0, 0, 0.5], [0, 0, 0, -1, 0], [0, 0, 0, 0, 1]],
                               atol=1e-6)


def test_neighbours_on_the_circle_of_fifths(planted, tmp_path):
    playlists = planted[0].select(np.ones(planted[0].num_playlists, bool), np.arange(planted[0].num_tracks) < 12)
    with Store(tmp_path / "store.jsonl", "s") as store:
        store.append(Record(u, "s", FOUND, {"key": i}) for i, u in enumerate(playlists.track_uris))
    features, names, _ = track_features(tmp_path / "store.jsonl", playlists)
    point = features[:, [names.index("key_sin"), names.index("key_cos")]].numpy()
    np.testing.assert_allclose(np.linalg.norm(point, axis=1), 2 ** 0.5, atol=1e-5)
    distance = np.linalg.norm(point[:, None] - point[None], axis=2)
    assert sorted(np.argsort(distance[0])[1:3]) == [5, 7]       # nearest to C: F and G
    assert np.argmax(distance[0]) == 6                          # farthest: F sharp


def test_a_store_of_other_tracks_is_refused(planted, tmp_path):
    with Store(tmp_path / "store.jsonl", "s") as store:
        store.append([Record(uri(0), "s", FOUND, {"energy": 1})])
    with pytest.raises(InputError, match="none of the"):
        track_features(tmp_path / "store.jsonl", planted[0])
    with pytest.raises(InputError, match="no such store"):
        track_features(tmp_path / "nothing.jsonl", planted[0])


def test_synthetic_features_tell_genres_apart(planted, tmp_path):
    playlists, truth = planted
    path = tmp_path / "store.jsonl"
    write_synthetic(path, playlists, truth, seed=5)
    features, names, coverage = track_features(path, playlists)
    x, genre = features.numpy(), truth.track_genre
    assert len(names) == features.shape[1] == len(FEATURES) + 2 and np.isfinite(x).all()
    assert 0.85 < coverage < 0.95 and coverage == pytest.approx(1 - x[:, -1].mean(), abs=1e-6)
    known = x[:, -1] == 0
    np.testing.assert_allclose(x[known, :-1].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(x[known, :-1].std(0), 1, atol=1e-4)
    assert (x[~known, :-1] == 0).all()
    even, odd = known & (np.arange(len(x)) % 2 == 0), known & (np.arange(len(x)) % 2 == 1)
    present = np.intersect1d(genre[even], genre[odd])
    centre = np.stack([x[even & (genre == g)].mean(0) for g in present])
    judged = odd & np.isin(genre, present)
    nearest = present[((x[judged, None] - centre[None]) ** 2).sum(2).argmin(1)]
    assert (nearest == genre[judged]).mean() > 0.9 > 3 * np.bincount(genre).max() / len(genre)
    whole = path.read_bytes()
    write_synthetic(path, playlists, truth, seed=5)
    assert path.read_bytes() == whole
