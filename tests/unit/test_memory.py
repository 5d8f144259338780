"""The garbage collector of a long-lived process."""

import gc

from onward.runtime import garbage_collector


def test_after_the_start_garbage_is_collected_again_and_older_objects_are_frozen() -> None:
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
