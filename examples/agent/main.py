"""The application: `uvicorn main:app`."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from onward import Onward

HERE = Path(__file__).resolve().parent

onward = Onward.from_settings(HERE / "settings.toml")
app = FastAPI(title="Reports", lifespan=onward.lifespan)
app.mount("/graphql", onward.graphql)
app.mount("/jobs", onward.pages)
app.mount("/", StaticFiles(directory=HERE / "page", html=True))
