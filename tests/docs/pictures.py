"""The pages' pictures, of a server at work. `.venv/bin/python -m tests.docs.pictures` takes them again."""

import asyncio
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright, expect

from onward.jobs.stats_step import MINUTE_US
from tests import application
from tests.processes import ROOT, graphql, running
from tests.system.web.conftest import QUIET, chromium

FOLDER = ROOT / "docs" / "images"
SCENE = ROOT / "tests" / "docs" / "scene"
MINUTES = 24
FEW = 5  # jobs of a handler, which may stay in one minute
WIDE, NARROW = 1280, 400
QUALITY = 82
STAGE = "mutation ($handler: String!, $params: String!) { stage(handler: $handler, params: $params) { job { id } } }"
REGISTER = "mutation ($input: RegisterUserInput!) { registerUser(input: $input) { job { id } } }"
NOTIFY = "mutation ($input: SendNotificationInput!) { sendNotification(input: $input) { job { id } } }"
PROCESS = "mutation ($input: ProcessItemInput!) { processItem(input: $input) { job { id } } }"
JOB = "query ($id: ID!) { job(id: $id) { status progress { completed } attempts { number } } }"
PEOPLE = ("ada", "grace", "linus", "barbara", "edsger", "margaret", "donald", "radia", "tim", "frances")


@dataclass(frozen=True)
class Picture:
    """A picture: a page of the console, in a window of that width."""

    name: Literal["overview", "jobs", "job"]
    width: int
    height: int
    scheme: Literal["light", "dark"]

    @property
    def file(self) -> str:
        return f"{self.name}-{self.width}-{self.scheme}.webp"


PICTURES = (
    Picture("overview", WIDE, 1120, "light"),
    Picture("overview", WIDE, 1120, "dark"),
    Picture("overview", NARROW, 860, "light"),
    Picture("jobs", WIDE, 900, "light"),
    Picture("jobs", WIDE, 900, "dark"),
    Picture("jobs", NARROW, 860, "light"),
    Picture("job", WIDE, 1020, "light"),
    Picture("job", WIDE, 1020, "dark"),
    Picture("job", NARROW, 860, "light"),
)


class Scene:
    """A shop on a good day: reports in progress, users that register, orders of which some fail."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._chance = random.Random(7)
        self._sent = 0

    def stage(self, handler: str, **params: object) -> str:
        return str(graphql(self.address, STAGE, handler=handler, params=json.dumps(params))["stage"]["job"]["id"])

    def minute(self) -> None:
        """Accept the jobs of a minute."""
        for _ in range(self._chance.randint(3, 14)):
            self._sent += 1
            kind = self._chance.random()
            name = f"{PEOPLE[self._sent % len(PEOPLE)]}{self._sent // len(PEOPLE) or ''}"
            address = f"{name}@example.com"
            if kind < 0.3:
                graphql(self.address, REGISTER, input={"username": name, "email": address})
            elif kind < 0.5:
                graphql(self.address, NOTIFY, input={"email": address, "message": "Your parcel is on its way."})
            elif kind < 0.6:
                graphql(self.address, PROCESS, input={"item": f"A review of {name}'s: never was a pen so blue."})
            else:
                gone = self._chance.random() < 0.25
                self.stage("orders.confirm", order=f"A-{self._sent}", items=["pen", "unicorn" if gone else "ink"])

    def tomorrow(self) -> None:
        when = (datetime.now(UTC) + timedelta(hours=20)).isoformat()
        graphql(self.address, NOTIFY, input={"email": "ada@example.com", "message": "Tea is served.", "runAt": when})

    async def until(self, job: str, enough: int, of: Literal["progress", "attempts"]) -> None:
        """Wait until the job has come that far."""
        deadline = time.monotonic() + 60
        while True:
            job_now = (await asyncio.to_thread(graphql, self.address, JOB, id=job))["job"]
            far = (
                len(job_now["attempts"]) if of == "attempts" else (job_now["progress"] or {"completed": 0})["completed"]
            )
            if far >= enough:
                return
            assert time.monotonic() < deadline, job_now
            await asyncio.sleep(0.1)


async def take(folder: Path, pictures: tuple[Picture, ...] = PICTURES, *, minutes: int = MINUTES) -> None:
    """Take the pictures into the folder."""
    with tempfile.TemporaryDirectory() as project:
        shutil.copytree(SCENE, project, dirs_exist_ok=True)
        application.write(Path(project), (SCENE / "settings.toml").read_text("utf-8"))
        with running("serve", "--port", "0", project=Path(project)) as api:
            scene = Scene(api.serving())
            for _ in range(minutes):
                await asyncio.to_thread(scene.minute)
            report, payment = (
                scene.stage("reports.build", month="october"),
                scene.stage("payments.capture", order="A-7"),
            )
            scene.tomorrow()
            await scene.until(report, 27, "progress")
            await scene.until(payment, 1, "attempts")
            await give_a_past(Path(project) / "var" / "onward.db")
            places = {"overview": "#/", "jobs": "#/jobs", "job": f"#/jobs/{report}"}
            async with browser() as chrome:
                context = await chrome.new_context(reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
                page = await context.new_page()
                for picture in pictures:
                    await _take(page, picture, f"{scene.address}/{places[picture.name]}", folder)


async def give_a_past(ledger: Path) -> None:
    """Spread the jobs of the present minute, which were all sent within seconds, over the hour before."""
    chance = random.Random(7)
    rows: dict[str, tuple[int, list[int], str, str]] = {}
    deadline = time.monotonic() + 60
    with closing(sqlite3.connect(ledger, timeout=30)) as database:
        while len(rows) < 4 and time.monotonic() < deadline:  # maintenance adds figures up within seconds
            await asyncio.sleep(0.5)
            added_up = "SELECT * FROM onward_history WHERE step = 1 ORDER BY enqueued"
            for _, at, handler, *counts, waits, runs in database.execute(added_up):
                rows[handler] = (at, counts, waits, runs)
        for ago in range(60):
            for handler, (at, counts, waits, runs) in rows.items():
                if ago == 0 and counts[0] < FEW:
                    continue
                share = chance.uniform(0.02, 0.09)
                past = [round(count * share) for count in counts]
                times = [longer(text, chance.choice((-2, -1, 0, 0, 1, 3))) for text in (waits, runs)]
                database.execute(
                    f"INSERT OR REPLACE INTO onward_history VALUES ({','.join('?' * 11)})",
                    (1, at - ago * MINUTE_US, handler, *past, *times),
                )
        database.commit()


def longer(text: str, buckets: int) -> str:
    """Return the encoded histogram with its times in later buckets."""
    flat = json.loads(text)
    return json.dumps([max(0, value + buckets) if index % 2 == 0 else value for index, value in enumerate(flat)])


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Open a browser without a window."""
    program = chromium()
    assert program, "needs Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=program, args=QUIET)
        yield opened
        await opened.close()


async def _take(page: Page, picture: Picture, address: str, folder: Path) -> None:
    await page.set_viewport_size({"width": picture.width, "height": picture.height})
    await page.emulate_media(color_scheme=picture.scheme)
    await page.goto(address)
    await page.reload()
    await expect(page.locator("#connection")).to_have_text("Live")
    await page.wait_for_timeout(1_500)
    await page.screenshot(path=folder / picture.file, type="webp", quality=QUALITY)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(take(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
