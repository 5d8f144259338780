"""Sends Dramatiq messages, each a pause after the one before was picked up; prints the time of each."""

import random
import sys
import time
from pathlib import Path

import dramatiq_app

path, count = sys.argv[1], int(sys.argv[2])
for number in range(count):
    time.sleep(random.uniform(0.3, 0.7))
    dramatiq_app.stamp.send(path)
    sent = time.monotonic()
    while not Path(path).exists() or len(lines := Path(path).read_text().splitlines()) <= number:
        time.sleep(0.001)
    print((float(lines[-1].split()[0]) - sent) * 1000, flush=True)
