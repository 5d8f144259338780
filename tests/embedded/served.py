"""An application that embeds Onward, for the servers that tests start; EMBEDDED_PROJECT is its folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from onward import Onward

onward = Onward.from_settings(Path(os.environ["EMBEDDED_PROJECT"]) / "settings.toml")
app = FastAPI(lifespan=onward.lifespan)
app.mount("/graphql", onward.graphql)
app.mount("/jobs", onward.pages)


@app.get("/result/{job_id}")
async def result(job_id: str) -> Any:
    logging.getLogger(__name__).warning("asked")
    return await onward.result(job_id)
