"""A field of Settings: its flag, its range, and what a value of it must be."""
from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import InputError

# Groups of flags: FIRST opens the help, LIBRARY has no flags.
FIRST, LIBRARY = "", "library"
DATA, MODEL, LEARNING, NEGATIVES, SCALE, RUN = map("more: {}".format, (
    "data", "model", "learning", "negatives", "sampling and scale", "run"))


class Range(NamedTuple):
    """Numbers from `least`, or above `above`, up to `most`, or below `below`."""
    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    below: float = 2 ** 31

    def broken_by(self, number) -> str | None:
        """What a number must be and is not, or None."""
        bounds = ((number >= self.least, "at least", self.least), (number > self.above, "above", self.above),
                  (number <= self.most, "at most", self.most), (number < self.below, "below", self.below))
        for holds, words, bound in bounds:
            if not holds and math.isfinite(bound):
                return f"must be {words} {bound:,.10g}"
        return None if math.isfinite(number) else "must be finite"


COUNT, NATURAL, ABOVE_0, SHARE = Range(least=1), Range(least=0), Range(above=0, below=math.inf), Range(least=0, below=1)


def setting(group: str, default, help: str, within: Range | None = None, **flag):
    """A field of Settings. default: None leaves it to `TUNED`, or unset where that is silent; flag: what else
    argparse's add_argument takes, such as type and choices."""
    start = {"default_factory": default.copy} if isinstance(default, list) else {"default": default}
    return field(**start, metadata={"group": group, "help": help, "within": within, "flag": flag})


def checked(f: dataclasses.Field, value: Any) -> Any:
    """A value of a field in the field's own type: of a list also a tuple, or a text of several words, as it would be typed.

    Raises InputError if it is of another type, out of its choices or out of its range."""
    flag, many = f.metadata["flag"], f.metadata["flag"].get("nargs")
    if value is None and default_of(f) is None:
        return None
    if not many:
        return _one(f, value, value)
    values = value.split() if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not values or isinstance(many, int) and len(values) != many:
        raise _wrong(f, value, f"must be a list of {many}" if isinstance(many, int) else "must be a list")
    if "type" not in flag:
        values = [str(each) if isinstance(each, numbers.Integral) else each for each in values]     # a fan-out
    return [_one(f, each, value) for each in values]


def _one(f: dataclasses.Field, each: Any, value: Any) -> Any:
    flag, within = f.metadata["flag"], f.metadata["within"]
    kind = flag.get("type", bool if "action" in flag else str)
    accepted, words = KINDS[kind]
    if not isinstance(each, accepted) or isinstance(each, bool) and kind is not bool:
        raise _wrong(f, value, f"must be {words}")
    if "choices" in flag and each not in flag["choices"] and (f.name, each) != ("neg", "all"):
        raise _wrong(f, value, f"must be one of {', '.join(flag['choices'])}")
    problem = within and within.broken_by(each)
    if problem:
        raise _wrong(f, value, problem + HINTS.get(f.name, ""))
    return kind(each)


KINDS = {int: (numbers.Integral, "a whole number"), float: (numbers.Real, "a number"), bool: (bool, "True or False"),
         str: (str, "text"), Path: ((str, Path), "a path")}
HINTS = {"relation_weights": "; --node-types leaves out artists or albums"}


def _wrong(f: dataclasses.Field, value: Any, problem: str) -> InputError:
    return InputError(f"{called(f)} {as_typed(value)}: {problem}")


def as_typed(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(as_typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]


def default_of(f: dataclasses.Field) -> Any:
    return f.default_factory() if f.default is dataclasses.MISSING else f.default


def called(f: dataclasses.Field) -> str:
    """The name of a setting as its user knows it: its flag, where it has one."""
    return f.name if f.metadata.get("group") == LIBRARY else "--" + f.name.replace("_", "-")
