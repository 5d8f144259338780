"""The import path of a run that must fail: every Python process of it gets the break that the environment names.

Python imports a module of this name at its start.
"""

import os

if "FAULTS_BREAK" in os.environ:
    from tests.system.faults import breaks

    breaks.install(os.environ["FAULTS_BREAK"])
