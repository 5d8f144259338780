"""The repository names no path of a machine that it was written on."""

import re
import subprocess

from tests.processes import ROOT

MACHINE_PATHS = re.compile(rb"/(?:home|Users|root|tmp)/[A-Za-z0-9._-]")


def test_no_file_names_a_path_of_a_developer_s_machine() -> None:
    """Of those that are, or would be, committed: other tests make and delete files beside them meanwhile."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert len(files) > 500
    assert [
        str(file.relative_to(ROOT)) for file in files if file.is_file() and MACHINE_PATHS.search(file.read_bytes())
    ] == []
