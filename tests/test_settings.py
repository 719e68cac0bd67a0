"""training/settings.py, flags.py and tuned.py: defaults, checks, flags."""
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import train
from common.errors import InputError
from helpers import quick
from training.flags import parse
from training.settings import Settings
from training.tuned import TUNED


@pytest.mark.parametrize("flags, problem", [
    (["--k-core", "5000"], "k-core"), (["--k-core", "-3"], "at least 0"), (["--lr", "nan"], "above 0"),
    (["--seed", "-1"], "at least 0"), (["--relation-weights", "1", "0", "0"], "above 0"), (["--lr", "inf"], "finite"),
    (["--miner", "window"], "give --neg"), (["--layers", "9" * 20], "below 2,147,483,648"), (["--mix", "1"], "below 1"),
    (["--model", "gat", "--edge-dropout", "0.5"], "leave it out"), (["--split", "nan", "0", "0"], "sum to 1"),
    (["--split", "0.5", "0.1", "0.1"], "sum to 1"), (["--fanout", "20"], "one positive number"),
    (["--heads", "2"], "lightgcn"), (["--neg", "hard", "--loss", "softmax"], "whole catalogue"),
    (["--split", "0", "0.5", "0.5"], "nothing to train on"), (["--epochs", "0"], "--epochs 0"),
    (["--model", "lightgcn", "--dropout", "0.3"], "lightgcn"), (["--loss", "bpr", "--lr", "1e30"], "smaller --lr"),
    (["--num-neg", "2"], "draws no negatives"), (["--model", "hgt", "--dim", "10", "--heads", "4"], "does not divide"),
    (["--device", "tpu"], "tpu"),
    (["--model", "hgt", "--relation-weights", "1", "1", "1"], "by what it learns")])
def test_bad_flags(slices, flags, problem):
    flags = flags if "--epochs" in flags else ["--epochs", "2", *flags]
    with pytest.raises(InputError, match=problem):
        quick(slices, *flags)


@pytest.mark.parametrize("settings, problem", [
    ({"guard": -1, "neg": "hard"}, "at least 0"), ({"neg": "hard", "neg_power": 3}, "at most 2"),
    ({"neg": "hard", "miner": "window", "window": 9999, "guard": 9999}, "leaves nothing"),
    ({"model": "gtn"}, "one of gat, gcn"), ({"neg": "hard", "guard": 16}, "leave none of 16"),
    ({"neg": "hard", "mix": 0.6, "semi_hard": 0.6}, "1 at most"), ({"dim": 2.5}, "whole number"),
    ({"dim": "64"}, "whole number"), ({"lr": True}, "a number"), ({"bases": 2}, "no such setting"),
    ({"neg": "soft"}, "one of random, hard"), ({"draw": "window"}, "one of shuffled, independent")])
def test_bad_settings(settings, problem):
    with pytest.raises(InputError, match=problem):
        Settings(**settings)


@pytest.mark.parametrize("flags, settings", [
    ([], {}), (["--model", "hgt", "--neg", "hard"], {"model": "hgt", "neg": "hard"}),
    (["--fanout", "20", "10", "--lr-decay", "--data", "mpd.zip", "--split", "1", "0", "0"],
     {"fanout": ["20", "10"], "lr_decay": True, "data": Path("mpd.zip"), "split": [1.0, 0.0, 0.0]})])
def test_flags_and_hands_make_the_same_settings(flags, settings):
    assert parse(flags) == Settings(**settings)


def test_a_default_is_what_the_last_fitting_row_says_and_names_it():
    for model, loss, lr, origin in (
            ("lightgcn", "softmax", 0.01, "always"), ("sage", "softmax", 0.005, "sage, softmax"),
            ("hgt", "softmax", 0.003, "hgt, softmax"), ("hgt", "bpr", 0.01, "always")):
        settings = Settings(model=model, loss=loss)
        assert (settings.lr, settings.origin["lr"]) == (lr, origin)
        assert any(line.startswith(f"{origin}: ") for line in settings.lines())
    given = Settings(model="hgt", lr=0.5)
    assert given.origin["lr"] == "chosen" and "chosen: model hgt, lr 0.5" in "".join(given.lines())
    assert Settings().heads is None and Settings().num_neg is None and Settings(model="gat").heads == 4


@pytest.mark.parametrize("settings, problem", [
    ({"relation_weights": [1, 1]}, "a list of 3"), ({"relation_weights": 2.0}, "a list of 3"), ({"split": 0.8}, "a list of 3"),
    ({"dim": [8]}, "a whole number"), ({"layers": None}, "a whole number"), ({"model": None}, "text"), ({"data": 3}, "a path"),
    ({"owners": "no"}, "True or False"), ({"lr_decay": 1}, "True or False"), ({"fanout": 20}, "a list"),
    ({"node_types": []}, "a list"), ({"neg": "all", "loss": "bpr"}, "whole catalogue"), ({"guard": -1}, "^guard -1")])
def test_settings_by_hand_are_held_to_their_types(settings, problem):
    with pytest.raises(InputError, match=problem):
        Settings(**settings)


def test_settings_by_hand_take_what_means_the_same():
    settings = Settings(data="mpd.zip", dim=np.int64(8), lr=np.float32(0.5), relation_weights=(1, 1, 1), fanout=(20, 10))
    assert settings == Settings(data=Path("mpd.zip"), dim=8, lr=0.5, relation_weights=[1.0] * 3, fanout=["20", "10"])
    assert json.loads(json.dumps(settings.stored()))["dim"] == 8
    assert Settings(fanout="20 10").fanout == ["20", "10"] and not Settings(fanout="full").sampled
    assert eval(repr(settings), {"Settings": Settings, "PosixPath": Path}) == settings


def test_changed_settings_are_looked_up_anew():
    assert Settings().but(model="hgt") == Settings(model="hgt") and Settings(seed=3).but(seed=5).split_seed == 5
    assert Settings(lr=0.2).but(neg="hard").lr == 0.2


def test_every_choice_of_the_table_is_a_setting():
    names = {field.name for field in fields(Settings)}
    for row in TUNED:
        assert row.then.keys() <= names and row.when.keys() <= names | {"held_out"}


def test_most_people_see_a_dozen_flags_first_and_forty_in_all(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    first, *more = capsys.readouterr().out.split("\nmore: ")
    flags = [re.findall(r"(?m)^  --([a-z-]+)", part) for part in (first, *more)]
    assert flags[0] == ["data", "model", "neg", "loss", "dim", "epochs", "split-by", "device", "seed", "out", "resume",
                        "refit"]
    assert sum(map(len, flags)) == 40


def test_settings_come_back_from_a_run_folder_also_from_an_earlier_version(trained):
    settings = Settings.of_run(trained)
    assert (settings.dim, settings.epochs, settings.batch_size) == (16, 8, 512)
    old = Path("old")
    shutil.copytree(trained, old)
    config = json.loads((old / "config.json").read_text())
    # an earlier version stored heads for every model, knew another word for shuffled rows, and lacked a setting
    stored = config["settings"] | {"heads": 4, "draw": "window", "relation_weights": [1.0, 1.0, 1.0], "num_neg": 1}
    del stored["edge_dropout"]
    (old / "config.json").write_text(json.dumps(config | {"settings": stored}))
    assert Settings.of_run(old) == settings
    (old / "config.json").write_text(json.dumps(config | {"settings": stored | {"dim": "wide"}}))
    with pytest.raises(InputError, match="settings are damaged.*dim"):
        Settings.of_run(old)


def test_help_says_what_every_flag_does(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    assert "how messages are passed" in text and "(default: 2)" in text


def test_where_nothing_is_held_out_ends_count_and_training_stops_by_itself():
    whole, held = parse(["--split", "1", "0", "0"]), parse([])
    assert (whole.recency, held.recency) == (2, 0) and whole.epochs < held.epochs
    assert parse(["--split", "1", "0", "0", "--epochs", "9"]).epochs == 9


def test_resume_keeps_its_settings(slices):
    out = quick(slices, "--epochs", "1")
    with pytest.raises(InputError, match="--lr cannot change"):
        train.main(["--resume", str(out), "--lr", "0.5"])
