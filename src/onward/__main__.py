"""Run the command line: `python -m onward`, and the console script `onward`."""

import signal


def run() -> None:
    """Run the command line. Ctrl-C ends the process without a traceback also while the commands are imported."""
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # or it is ignored
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from onward.cli import main  # noqa: PLC0415 - as above

    if interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main.run()


if __name__ == "__main__":
    run()
