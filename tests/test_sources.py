"""audio/sources.py: the services against a server that misbehaves on demand, and dumps of another form."""
import base64

import pytest

import fetch_audio_features as fetching
from audio import sources
from audio.store import DENIED, FOUND, MISSING, RETRY, read_store
from common.errors import InputError

from services import CLIENT_ID, SECRET, answer, dump, states, uri

pytestmark = pytest.mark.usefixtures("slept")


# ---- answers ---------------------------------------------------------------------------------------------------------

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


# ---- trouble that passes ---------------------------------------------------------------------------------------------

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


# ---- credentials -----------------------------------------------------------------------------------------------------

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


# ---- dumps -----------------------------------------------------------------------------------------------------------

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
