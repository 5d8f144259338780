"""The garbage collector and the allocator of a long-lived process."""

import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from onward.runtime import garbage_collector
from tests import application
from tests.processes import environment


def test_after_the_start_garbage_is_collected_again_and_older_objects_are_frozen() -> None:
    counts, pythons, older = gc.get_threshold(), 700, [object()]
    gc.set_threshold(pythons)
    garbage_collector.start()
    try:
        assert not gc.isenabled()
        assert any(one is older for one in gc.get_objects())
        garbage_collector.started()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > pythons
        assert not any(one is older for one in gc.get_objects())
    finally:
        gc.enable()
        gc.set_threshold(*counts)


LOADING = """
import gc
from onward.cli import main

def collections():
    return sum(generation["collections"] for generation in gc.get_stats())

before = collections()
with main._commands("terminal"):
    print(collections() - before, gc.isenabled())
"""


def test_a_look_at_the_jobs_collects_nothing_until_its_libraries_are_loaded(tmp_path: Path) -> None:
    """Collections would take a tenth of the command's time, and find nothing."""
    application.write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADING],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0 True\n"


POOLS_OF_NINE_THREADS = """
import ctypes, tempfile, threading
from onward.runtime import allocator

allocator.limit_pools()
began, ends = threading.Barrier(10), threading.Event()

def work():
    kept = [bytes(1_000) for _ in range(10)]
    began.wait()
    ends.wait()

for _ in range(9):
    threading.Thread(target=work).start()
began.wait()
c, file = ctypes.CDLL(None), tempfile.mktemp()
c.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(c.fopen(file.encode(), b"w"))
c.malloc_info(0, stream)
c.fclose(stream)
ends.set()
print(open(file).read().count("<heap "))
"""


@pytest.mark.parametrize(("variables", "pools"), [({}, 2), ({"MALLOC_ARENA_MAX": "5"}, 5)])
def test_the_threads_of_a_process_share_a_few_pools_of_memory(variables: dict[str, str], pools: int) -> None:
    """A pool grows to the most that its threads used at once, and its free memory serves no other."""
    code = POOLS_OF_NINE_THREADS if platform.libc_ver()[0] == "glibc" else f"print({pools})"
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**others, **variables}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == pools
