"""Which run folders may have their code run: those of this user, and those that are trusted.

A run folder may name code: an agent or a method by its file or module, an environment by its
module. Whoever imports a module runs it. So a folder that names code carries a mark of who wrote
it: an HMAC (RFC 2104) of what it names, by a key that lies in the user's own files. A folder
without the right mark is of somebody else, was written on another machine, or was altered since.
Its code runs only when the user says so: `--trust`, or `trust=True` in Python.

The owner of the files would not do: what is downloaded and unpacked belongs to whoever did it.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparl.errors import Untrusted

KEY_SIZE = 32
LONGEST = 200
"""Characters that a message shows of what is named."""
_accepted: set[Path] = set()
"""Folders that the user has trusted in this process."""


def accept(folder: Path, trust: bool) -> None:
    """Notes that the user trusts a folder, if so."""
    if trust:
        _accepted.add(folder.resolve())


def own(spec: str) -> bool:
    """Whether a class is one of sparl's own, named by its module. (sparl.py may be anybody's.)"""
    module = spec.partition(":")[0]
    return module.startswith("sparl.") and not module.endswith(".py")


def code(config: dict[str, Any]) -> list[str]:
    """What a config.json names that has to be imported, in words: `agent toy.py:Toy`.

    Classes and environments that are registered go by a name without a colon. They come from
    packages that the user has installed, and count as trusted.
    """
    plugins = {part: config[part]["name"] for part in ("agent", "method")}
    named = [f"{part} {spec}" for part, spec in plugins.items() if ":" in spec and not own(spec)]
    data = ("begun_from", "vecnormalize", "replay")
    run = {name: value for name, value in config["run"].items() if name not in data}
    if run.pop("env_folder", ""):  # modules are looked for there, whatever they are called
        named.append(f"env_folder {config['run']['env_folder']}")
    return named + [f"{name} {text}" for name, value in run.items() for text in _specs(value)]


def mark(named: list[str]) -> str | None:
    """The mark of this user on what a folder names; None where there is nothing to mark, or where
    no key can be kept."""
    key = _key(make=True) if named else None
    return None if key is None else _mac(key, sorted(named))


def refuse_foreign(folder: Path, named: list[str], found: str | None) -> None:
    """Checks that what a folder names may be imported.

    Args:
        folder: The run folder.
        named: What `code` gives for it.
        found: The mark in its config.json.

    Raises:
        Untrusted: It was not written by this user here, and is not trusted.
    """
    if not named or folder.resolve() in _accepted:
        return
    key = _key(make=False)
    # Earlier marks are of the names in the order in which they were written.
    marks = () if key is None else (_mac(key, sorted(named)), _mac(key, named))
    if found is not None and any(hmac.compare_digest(own, found) for own in marks):
        return
    told = ", ".join(text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in named)
    raise Untrusted(
        f"{folder} names code to run ({told}), and was not written by you on this "
        "machine. Look at that code; then say --trust, or trust=True in Python"
    )


def _specs(value: Any) -> Iterator[str]:
    """All texts in a value that may name a module or a file of code."""
    if isinstance(value, str):
        if ":" in value or value.endswith(".py"):
            yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _specs(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _specs(entry)


def _mac(key: bytes, named: list[str]) -> str:
    return hmac.new(key, json.dumps(named).encode(), "sha256").hexdigest()


def _key(make: bool) -> bytes | None:
    """The user's key; None where there is none and none is made, or can be kept."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state) / "sparl" / "key"
    with suppress(OSError):
        if make and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(new, "wb") as file:
                file.write(secrets.token_bytes(KEY_SIZE))
    with suppress(OSError):
        content = path.read_bytes()
        return content if len(content) == KEY_SIZE else None
    return None
