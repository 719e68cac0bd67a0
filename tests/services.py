"""What stands in for the sources of audio features: an HTTP server that misbehaves on demand, and a dump."""
import base64
import json
import os
import socket
import sqlite3
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

import fetch_audio_features as fetching
from audio import sources
from audio.store import Store, read_store

CLIENT_ID, SECRET = "the-client-id", "the-client-secret"


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


def uri(number):
    return f"spotify:track:{number:022d}"


def states(path):
    """{URI: state} as the last lines say."""
    return {record.uri: record.state for record in read_store(path)}


def dump(path, create, rows=()):
    with sqlite3.connect(path) as database:
        database.execute(create)
        for row in rows:
            database.execute(f"INSERT INTO extracted VALUES ({', '.join('?' * len(row))})", row)
    database.close()
    return path


# ---- fixtures --------------------------------------------------------------------------------------------------------

@pytest.fixture
def slept(monkeypatch):
    """The seconds that would have been slept, none of which are; credentials; no proxy between client and server."""
    seconds = []
    monkeypatch.setattr(sources, "sleep", seconds.append)
    monkeypatch.setenv("SPOTIFY_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("SPOTIFY_CLIENT_SECRET", SECRET)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return seconds


@pytest.fixture
def server(slept):
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


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
