"""Runs a module as `python -m` does, with a probe in its event loop that measures the latest callback.

The probe is the benchmark's, not the product's. It stands alone, because rivals run in environments of their own.
"""

import os
import runpy
import sys
import time

EVERY_S = 0.01
WRITE_S = 0.1


def watched(run_forever):
    """Make the loop write its longest delay of every tenth of a second to BENCH_PROBE while it runs."""
    probed = set()

    def watched_run_forever(loop):
        if loop in probed:
            return run_forever(loop)
        probed.add(loop)
        state = {"due": 0.0, "worst": 0.0, "written": time.monotonic()}

        def look() -> None:
            now = time.monotonic()
            if state["due"]:
                state["worst"] = max(state["worst"], now - state["due"])
            if now - state["written"] >= WRITE_S:
                with open(os.environ["BENCH_PROBE"], "a") as file:
                    file.write(f"{now:.3f} {state['worst'] * 1000:.2f}\n")
                state["written"], state["worst"] = now, 0.0
            state["due"] = time.monotonic() + EVERY_S
            loop.call_later(EVERY_S, look)

        loop.call_soon(look)
        return run_forever(loop)

    return watched_run_forever


def main() -> None:
    import uvloop  # noqa: PLC0415

    # The class, and not its maker: the product has a loop of its own that is one of these.
    uvloop.Loop.run_forever = watched(uvloop.Loop.run_forever)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
