"""A project of an application that embeds Onward."""

from __future__ import annotations

from pathlib import Path

WRAP = "mutation($label: String!) { parcelsWrap(input: {label: $label}) { job { id } errors { message } } }"
UPDATES = "subscription($id: ID!) { jobUpdated(id: $id) { id status done result } }"


def write(folder: Path, ledger_url: str, more: str = "") -> Path:
    """Write the project's settings, and return their file."""
    file = folder / "settings.toml"
    modules = '[handlers]\nmodules = ["tests.embedded.parcels"]\n'
    file.write_text(f'{more}\n{modules}[database]\nurl = "{ledger_url}"\n')
    return file
