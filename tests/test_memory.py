"""The garbage collector of a process that lives long."""

import gc

import memory


def test_once_started_a_process_collects_garbage_again_and_leaves_alone_what_was_there() -> None:
    counts = gc.get_threshold()
    memory.start()
    try:
        assert not gc.isenabled()
        memory.started()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > counts[0]
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.set_threshold(*counts)
        gc.unfreeze()
