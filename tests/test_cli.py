"""What the scripts share at the terminal."""
import ctypes

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
