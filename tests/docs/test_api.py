"""People copy code that imports public names only."""

import pytest

from tests.docs.api import PUBLIC, imported, shown_code

SHOWN = list(shown_code())


@pytest.mark.parametrize("text", [text for _, text in SHOWN], ids=[where for where, _ in SHOWN])
def test_the_shown_code_imports_public_names_only(text: str) -> None:
    private = [
        f"from {module} import {name}"
        for module, name in imported(text)
        if name not in PUBLIC.get(module, PUBLIC["onward"]).names or module not in PUBLIC
    ]
    assert [one for one in private if one.removeprefix("from ").replace(" import ", ".") not in PUBLIC] == []


def test_onward_s_own_names_are_imported_from_onward() -> None:
    """The import is `from onward import handler`, although the module that defines it would do."""
    elsewhere = {
        f"{where}: from {module} import {name}"
        for where, text in SHOWN
        for module, name in imported(text)
        if module != "onward" and name in PUBLIC["onward"].names and not module.startswith("onward.backends")
    }
    assert elsewhere == set()
