"""What README shows, for tests that run it as it is printed there."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def shown(after: str, language: str = "python") -> str:
    """The first block of this language behind these words."""
    found = re.search(rf"{re.escape(after)}.*?```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, after
    return found[1]


def lines(after: str) -> list[str]:
    """What stands between backticks in the paragraph that begins with these words."""
    found = re.search(rf"^{re.escape(after)}.*$", README.read_text(), re.MULTILINE)
    assert found, after
    return re.findall("`([^`]+)`", found[0])
