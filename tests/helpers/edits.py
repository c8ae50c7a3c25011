"""Changes to files of sparl, as a user makes them who knows what a digest is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes the content of a JSON file, and takes the digest out, as the messages say.

    Args:
        path: The file.
        change: Changes the content in place.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("digest", None)
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
