"""What the site needs beyond Markdown: the files of the checkout that its pages link to.

Figures, curves and recipes lie outside of `docs/`. A page links to them as it would anywhere in the
checkout, `../../results/dqn/cartpole/curves.png`, so that the link works in a code browser, too.
When the site is built, each such file is copied below `files/`, and the link leads there. A link to
a file that does not exist is a warning, and so stops `mkdocs build --strict`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel

log = get_plugin_logger("docs/hooks.py")

LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=\))")
"""The target of a Markdown link or picture, without an address elsewhere or an anchor."""


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Adds the files outside of `docs/` that pages link to."""
    root = Path(config.config_file_path).parent
    for page in list(files.documentation_pages()):
        for target in LINK.findall(page.content_string):
            path = outside(page.src_uri, target, Path(config.docs_dir).name)
            if path is None:
                continue
            if not (root / path).is_file():
                log.warning("%s links to %s, which is no file", page.src_uri, target)
            elif files.get_file_from_path(f"files/{path}") is None:
                copied = File.generated(config, f"files/{path}", abs_src_path=str(root / path))
                copied.inclusion = InclusionLevel.NOT_IN_NAV  # of a table in Markdown
                files.append(copied)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Leads links out of `docs/` to the copies."""
    uri, docs = page.file.src_uri, Path(config.docs_dir).name

    def copied(match: re.Match[str]) -> str:
        path = outside(uri, match[0], docs)
        if path is None:
            return match[0]
        return posixpath.relpath(f"files/{path}", posixpath.dirname(uri) or ".")

    return LINK.sub(copied, markdown)


def outside(page: str, target: str, docs: str) -> str | None:
    """What a page of `docs/` links to, as a path in the checkout; None for what lies in `docs/`."""
    path = posixpath.normpath(posixpath.join(docs, posixpath.dirname(page), target))
    return None if path.startswith((f"{docs}/", "..")) else path
