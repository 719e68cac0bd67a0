"""From a command line, or from another run, to the settings of a run."""
from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

from common import cli
from common.errors import InputError
from training.fields import LIBRARY, as_typed, called, default_of
from training.folder import load_history
from training.settings import CHOSEN, Settings, settings_of
from training.state import SELECT_BY
from training.tuned import TUNED

RESUMABLE = {"epochs", "device"}                # what may be given beside --resume
REFITTABLE = {"epochs", "device", "out"}        # and beside --refit


def parse(argv: list[str] | None) -> Settings:
    """Flags of train.py → Settings. Raises InputError for what argparse or the settings refuse."""
    parser = cli.Parser(prog="train.py", description="Train a graph neural network to continue playlists.",
                        usage="train.py [flags]")
    for f in settings_of(Settings):
        group, flag = f.metadata["group"], f.metadata["flag"]
        if group != LIBRARY:
            _group(parser, group).add_argument(called(f), default=argparse.SUPPRESS, help=_help(f), **flag)
    parser.add_argument("--resume", type=Path, metavar="RUN", default=argparse.SUPPRESS, help="go on where RUN "
                        "stopped, with its own settings; only --epochs and --device may be given beside it")
    parser.add_argument("--refit", type=Path, metavar="RUN", default=argparse.SUPPRESS, help="learn anew with RUN's "
                        "settings from its training and validation links together, for the epochs that its validation "
                        "chose: what the test part is scored with; only --epochs, --device and --out may be given "
                        "beside it")
    typed = vars(parser.parse_args(argv))
    if "resume" in typed:
        return resumed(typed.pop("resume"), **typed)
    return refitted(typed.pop("refit"), **typed) if "refit" in typed else Settings(**typed)


def _group(parser: argparse.ArgumentParser, title: str):
    """The parser's group of this title, made where there is none; the parser itself for FIRST."""
    if not title:
        return parser
    return next((g for g in parser._action_groups if g.title == title), None) or parser.add_argument_group(title)


def _help(f: dataclasses.Field) -> str:
    """A flag's help with its default: the field's own, or those of `TUNED` where it depends on the run."""
    text, default = f.metadata["help"].replace("%", "%%"), default_of(f)
    if "(default" in text or default is False:
        return text
    if default is not None:
        return f"{text} (default: {as_typed(default)})"
    said = [f"{row.name()} " * bool(row.when) + as_typed(row.then[f.name]) for row in TUNED if f.name in row.then]
    return f"{text} (default: {'; '.join(said)})" if said else text


def resumed(run: str | Path, **beside) -> Settings:
    """The settings of a run that goes on. beside: epochs and device, where they change.

    Raises InputError for anything else beside."""
    settings = _as_in_run("resume", Path(run), RESUMABLE, beside)
    settings.resume = settings.out = Path(run)
    return settings


def refitted(run: str | Path, **beside) -> Settings:
    """The settings of a run to learn anew, with the epochs that its validation chose. beside: epochs, device and out,
    where they change.

    Raises InputError for anything else beside, and for a run that validated nothing, has not finished or is damaged."""
    run = Path(run)
    settings, history = _as_in_run("refit", run, REFITTABLE, beside), load_history(run)
    settings.refit = run
    if "out" not in beside:
        settings.out = None
    scores = [row.get(SELECT_BY, math.nan) for row in history]
    if SELECT_BY not in history[0]:
        raise InputError(f"--refit {run}: this run held nothing out for validation, so there is nothing to add; use it "
                         f"as it is")
    if not all(map(math.isfinite, scores)):
        raise InputError(f"{run}/history.csv: damaged ({SELECT_BY} is not a number everywhere); train the run again")
    if "epochs" not in beside:
        best = scores.index(max(scores)) + 1
        if len(scores) < min(settings.epochs, best + settings.patience):
            raise InputError(f"--refit {run}: this run has not finished; --resume {run} first, or give --epochs")
        settings.epochs = best
    return settings


def _as_in_run(flag: str, run: Path, changeable: set[str], beside: dict) -> Settings:
    """The settings of the run that --resume or --refit names, with what was given beside it."""
    if beside.keys() - changeable:
        flags = " ".join("--" + name.replace("_", "-") for name in sorted(beside.keys() - changeable))
        raise InputError(f"--{flag} keeps the settings of its run; {flags} cannot change: leave it out, or train anew")
    settings = Settings.of_run(run)
    settings.origin = {name: f"as in {run}" for name in settings.origin} | {name: CHOSEN for name in beside}
    for name, value in beside.items():
        setattr(settings, name, value)
    settings.check_each()
    return settings
