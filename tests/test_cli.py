"""What the scripts share at the terminal."""
import argparse
import ctypes
import importlib
from pathlib import Path

import pytest

from common import cli


def test_freed_memory_is_kept_where_glibc_allows(monkeypatch):
    asked = []

    class Library:
        def mallopt(self, parameter, value):
            asked.append((parameter, value))
            return 1
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert cli.keep_freed_memory() is True
    assert asked == [(cli.M_MMAP_MAX, 0), (cli.M_TRIM_THRESHOLD, 2 ** 31 - 1)]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_another_c_library_is_left_alone(monkeypatch, error):
    def missing(name):
        raise error
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert cli.keep_freed_memory() is False


@pytest.mark.parametrize("script", ["train", "evaluate", "recommend", "visualize", "fetch_audio_features"])
def test_every_script_and_sub_command_prints_its_help(script, monkeypatch, capsys):
    main, made, init = importlib.import_module(script).main, [], cli.Parser.__init__

    def kept(parser, **settings):
        made.append(parser)
        init(parser, **settings)
    monkeypatch.setattr(cli.Parser, "__init__", kept)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert made
    for prog in [each.prog for each in made]:
        name, *command = prog.split()                           # "visualize.py curves"
        assert name == f"{script}.py"
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: {prog} ")


@pytest.mark.parametrize("kind, good, bad", [
    (cli.natural, {"0": 0, "12": 12}, ["-1", "1.5", "", "x"]),
    (cli.positive, {"1": 1, "12": 12}, ["0", "-1", "1.5", "", "x"]),
    (cli.finite, {"-0.5": -0.5, "3": 3.0}, ["nan", "inf", "", "x"]),
    (cli.picture, {"a.png": Path("a.png"), "b/c.SVG": Path("b/c.SVG")}, ["a.pdf", "png", ""])])
def test_a_flag_takes_what_it_can_use_and_nothing_else(kind, good, bad):
    assert {text: kind(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)
