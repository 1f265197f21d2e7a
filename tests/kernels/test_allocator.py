import platform
import sys

import pytest

from alpaca_lora.kernels import allocator

CODE = """
import runpy, sys
keep = runpy.run_path(sys.argv[1])["keep_freed_memory"]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def left_of(count):
    before = resident()
    memory = bytearray(b"1") * count
    del memory
    return (resident() - before) / count

took = [keep(**value) for value in eval(sys.argv[2])]
print(all(took), left_of(64 << 20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these thresholds")
@pytest.mark.parametrize(
    ("calls", "kept"),
    [
        ([{}], True),
        ([], False),
        ([{"keep": False}], False),
        ([{}, {"keep": False}], False),
        ([{"largest": 128 << 20}], True),
        ([{"largest": 32 << 20}], False),
    ],
)
def test_freed_memory_stays_in_the_process_until_it_is_undone(calls, kept, run_python):
    done = run_python("-c", CODE, allocator.__file__, str(calls), check=True)
    took, share = done.stdout.split()
    assert took == "True"
    assert (float(share) > 0.9) == kept
    assert kept or float(share) < 0.1


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
