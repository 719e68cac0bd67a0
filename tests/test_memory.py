"""common/memory.py: how much memory there is, and common/files and the baselines that ask for it."""
import sys

import pytest

from common import memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/meminfo")
def test_available_memory_is_that_of_the_kernel():
    free = memory.available()
    (line,) = (line for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    assert abs(free - 1024 * int(line.split()[1])) < 1e9 and free > 1e8


@pytest.mark.parametrize("text", [None, "", "MemTotal:  100 kB\n", "MemAvailable: many\n"])
def test_elsewhere_nothing_is_known(text, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    if text is not None:
        (tmp_path / "meminfo").write_text(text)
    assert memory.available() is None


def test_kilobytes_become_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:       24600000 kB\nMemFree: 5 kB\nMemAvailable:   123456 kB\n")
    assert memory.available() == 123456 * 1024
