"""On the import path of a run that is to go red: every Python process of it has the break that the environment names.

Python imports a module of this name at its start.
"""

import os

if "FAULTS_BREAK" in os.environ:
    from tests.system.faults import breaks

    breaks.install(os.environ["FAULTS_BREAK"])
