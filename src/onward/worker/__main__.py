"""Entry point of the processes that `onward worker` and isolated jobs start."""

from onward.worker.process import run_main

run_main()
