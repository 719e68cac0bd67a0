"""Runs that go on, and runs that are learnt anew: train.py --resume and --refit."""
import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from common.errors import InputError
from training.folder import PARTS, load_config, load_history, load_split, save_json
from training.trained import Trained

from helpers import QUICK, ROOT, by_hand, parameters, quick, same


@pytest.mark.parametrize("settings", [{}, {"neg": "random"}, {"model": "gat", "neg": "hard", "dropout": 0.2},
                                      {"neg": "hard", "refresh": 2, "warm_up": 0, "semi_hard": 0.3},
                                      {"neg": "hard", "miner": "window", "refresh": 3, "warm_up": 0},
                                      {"model": "rgcn", "neg": "hard", "fanout": ["4", "3"], "refresh": 3}])
def test_resume_ends_bit_for_bit_where_an_uninterrupted_run_ends(slices, settings):
    whole = by_hand(slices, **settings, epochs=4, out=Path("whole"))
    by_hand(slices, **settings, epochs=2, out=Path("parts"))
    parts = train.main(["--resume", "parts", "--epochs", "4"])
    assert same(parameters(whole / "last.pt"), parameters(parts / "last.pt"))
    assert same(parameters(whole / "best.pt"), parameters(parts / "best.pt"))
    rows = [[{name: value for name, value in row.items() if name not in ("seconds", "pairs_per_s")}
             for row in csv.DictReader(open(run / "history.csv"))] for run in (whole, parts)]
    assert rows[0] == rows[1]


def test_resume_after_kill_9(slices):
    flags = ["--data", str(slices), *QUICK, "--epochs", "6"]
    whole = train.main([*flags, "--out", "whole"])
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *flags, "--out", "killed"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not Path("killed/last.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = train.main(["--resume", "killed"])
    assert same(parameters(whole / "last.pt"), parameters(killed / "last.pt"))


@pytest.mark.parametrize("by", ["random", "last", "cold"])
def test_a_refit_learns_from_validation_too_and_keeps_the_test_part(slices, capsys, by):
    out = quick(slices, "--split-by", by, "--epochs", "4", "--seed", "3")
    assert f"train.py --refit {out}" in capsys.readouterr().out
    best = max(load_history(out), key=lambda row: row["ndcg@10"])["epoch"]
    refit = train.main(["--refit", str(out), "--out", "refit"])
    assert len(load_history(refit)) == best and "--refit" not in capsys.readouterr().out
    old, new = (load_split(folder, PARTS) for folder in (out, refit))
    def pairs(*parts):
        return {pair for part in parts for pair in zip(*map(np.ndarray.tolist, tuple(part)))}
    assert pairs(new.train) == pairs(old.train, old.val, old.given_val) and new.val.size == new.given_val.size == 0
    assert pairs(new.test) == pairs(old.test) and pairs(new.given_test) == pairs(old.given_test)
    may_differ = {"out", "epochs", "refit", "device"}
    settings = [{k: v for k, v in load_config(f)["settings"].items() if k not in may_differ} for f in (out, refit)]
    assert settings[0] == settings[1]
    assert Trained(refit).train.size == old.train.size + old.val.size + old.given_val.size
    assert all(row["recall@10"] > 0 for row in evaluate.main(["--run", str(out), str(refit), "--k", "10"]))
    text, hint = capsys.readouterr()
    assert f"\n{out} " in text and "\nrefit " in text                                  # each row says which run it is
    assert hint.count("has not learnt") == 1 and f"--refit {out}" in hint
    with pytest.raises(InputError, match="--lr cannot change"):
        train.main(["--refit", str(out), "--lr", "0.5"])
    with pytest.raises(InputError, match="held nothing out for validation"):
        train.main(["--refit", str(refit)])


def test_a_refit_is_resumed(slices):
    first = quick(slices, "--epochs", "4", "--out", "first")
    with pytest.raises(InputError, match="has not finished"):
        config = load_config(first)
        save_json(first / "config.json", config | {"settings": config["settings"] | {"epochs": 40}})
        train.main(["--refit", str(first)])
    whole = train.main(["--refit", str(first), "--epochs", "4", "--out", "whole"])
    train.main(["--refit", str(first), "--epochs", "2", "--out", "parts"])
    parts = train.main(["--resume", "parts", "--epochs", "4"])
    assert same(parameters(whole / "best.pt"), parameters(parts / "best.pt"))
