"""What the scripts share at the terminal: types of flags, one-line errors, tables, devices."""
from __future__ import annotations

import argparse
import ctypes
import math
import os
import sys
from pathlib import Path
from typing import Callable, Sequence

import torch

from common.errors import InputError

PICTURES = (".png", ".svg")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4           # malloc.h


class Parser(argparse.ArgumentParser):
    """argparse with defaults shown in the help, and one line with exit code 2 for a wrong flag."""

    def __init__(self, **settings):
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)

    def error(self, message: str):
        raise InputError(f"{self.prog}: {message}; `python {self.prog} --help` lists every flag")


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Paragraphs as written, `(default: …)` behind every flag that has one."""

    def _get_help_string(self, action):
        if action.default in (None, False, argparse.SUPPRESS) or "(default" in action.help:
            return action.help
        return action.help + " (default: %(default)s)"


def finite(text: str) -> float:
    """A number for argparse: neither nan nor infinite."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return number


def natural(text: str) -> int:
    """A whole number for argparse, from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number for argparse, from 1 on."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def picture(text: str) -> Path:
    """The name of a picture for argparse."""
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text}: pictures are written as {' or '.join(PICTURES)}; end the name with "
                                         "one of them")
    return Path(text)


def typed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> set[str]:
    """The names of the flags that stand on the command line, as opposed to those left at their defaults."""
    defaults = {action.dest: action.default for action in parser._actions}
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    names = set(vars(parser.parse_args(argv)))
    for action in parser._actions:
        action.default = defaults[action.dest]
    return names


def run(main: Callable[[], None]) -> None:
    """Call a script's main; what a user can mend becomes one line on standard error and exit code 2."""
    keep_freed_memory()
    sys.stdout.reconfigure(errors="backslashreplace")       # titles hold what a terminal may not know
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:                                 # who reads has seen enough, as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        sys.exit(_fail(f"{error.filename or 'input/output'}: {error.strerror or error}"))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; the same command, or train.py --resume RUN, goes on", 130))


def _fail(message: str, code: int = 2) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return code


def keep_freed_memory() -> bool:
    """Let the C library keep large freed arrays for the next ones; returns whether it took that.

    glibc maps every array above a limit afresh and unmaps it when freed, so that code which makes many of them spends
    its time in page faults, on zeroing the same memory again and again. Here all memory comes from the heap and stays
    with the process: sampled training takes a quarter less processor time, at 2 % more peak memory
    (benchmarks/LOG.md). For the whole process and from then on; elsewhere than in glibc nothing happens."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2 ** 31 - 1))
    except (OSError, AttributeError):                       # another C library, or another system
        return False


def choose_device(name: str) -> torch.device:
    """"auto" is CUDA where there is one. Raises InputError for cuda without a CUDA device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device here; use --device cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned text: words left, numbers right, floats with four decimals."""
    cells = [list(header)] + [[f"{c:.4f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    width = [max(len(row[i]) for row in cells) for i in range(len(header))]
    words = [any(isinstance(row[i], str) for row in rows) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) if word else c.rjust(w) for c, w, word in zip(row, width, words)).rstrip()
             for row in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in width), *lines[1:]])
