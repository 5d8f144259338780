"""SECURITY.md names a test for each attack, and each test exists."""

import re

from tests.processes import ROOT

ROW = re.compile(r"^\| (.+) \| (.+) \| `(tests/[\w/]+\.py)::(\w+)` \|$", re.MULTILINE)


def test_every_attack_of_the_threat_table_has_its_test() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    rows = ROW.findall(text)
    assert len(rows) == text.count("\n| ") - 1, "each row but the head names one test"
    for _attack, _answer, file, name in rows:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), (file, name)
