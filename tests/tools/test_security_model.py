"""SECURITY.md names tests that exist."""

import re
from pathlib import Path

_TOP = Path(__file__).parents[2]
_CELL = re.compile(r"`([a-z_0-9]+/[a-z_0-9]+)`(?:: ([a-z0-9_, ]+))?")


def test_every_test_that_the_security_model_names_exists() -> None:
    model = (_TOP / "SECURITY.md").read_text().partition("## Security model")[2]
    rows = "\n".join(line for line in model.splitlines() if line.startswith("|") or "`e2e/" in line)
    cells = [cell for cell in _CELL.findall(rows) if (_TOP / "tests" / cell[0].partition("/")[0]).is_dir()]
    assert len(cells) > 30
    missing = []
    for path, names in cells:
        file = _TOP / "tests" / f"{path}.py"
        text = file.read_text() if file.exists() else ""
        if not text and not file.with_suffix("").is_dir():
            missing.append(path)
        missing += [f"{path}: {name}" for name in names.replace(",", " ").split() if f"def test_{name}(" not in text]
    assert missing == []
