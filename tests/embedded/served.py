"""An application that embeds Onward, for the servers that tests start; EMBEDDED_PROJECT is its folder."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from onward import Onward

onward = Onward.from_settings(Path(os.environ["EMBEDDED_PROJECT"]) / "settings.toml")
app = FastAPI(lifespan=onward.lifespan)
app.mount("/graphql", onward.graphql)
app.mount("/jobs", onward.pages)
