"""The garbage collector of a process that lives long."""

import gc

from onward.runtime import garbage_collector


def test_once_started_a_process_collects_garbage_again_and_leaves_alone_what_was_there() -> None:
    counts = gc.get_threshold()
    garbage_collector.start()
    try:
        assert not gc.isenabled()
        garbage_collector.started()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > counts[0]
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.set_threshold(*counts)
        gc.unfreeze()
