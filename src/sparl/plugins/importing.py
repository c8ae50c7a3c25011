"""Code of users, by the place where it is: a class of a file or of a module.

`path/to/file.py:Class` names what a Python file defines, `package.module:Class` what can be
imported. A run folder records such a name, so that later commands, and other processes, find the
same again.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import multiprocessing
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sparl.errors import BadValue

FROM_FILE = "sparl_plugin_"
"""How the names of modules begin that were loaded from a file."""
BELOW = 'put what the file does below `if __name__ == "__main__":`'
_loading: list[Path] = []
"""The files that are being imported just now."""
_INSTALLED = {Path(sysconfig.get_path(of)) for of in ("purelib", "platlib")}


def refuse_while_loading() -> None:
    """Raises `BadValue` while a file of the user is imported: a run must not start then.

    A script that defines an agent and trains it is imported when that run is resumed, and by every
    process in which an environment of it is stepped.
    """
    if _loading:
        raise BadValue(f"a run starts while {_loading[-1]} is imported for a class in it: {BELOW}")
    # Python's own mark of a process that runs the script of its parent again.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise BadValue(
            "a run starts in a process that was made for an environment of it, which imports the "
            f"script first: {BELOW}"
        )


def file_module(kind: type) -> ModuleType | None:
    """The module of a class that was loaded from a file; None for one of another module.

    Other processes cannot import it by its name: what is sent to them must hold its code.
    """
    return sys.modules[kind.__module__] if kind.__module__.startswith(FROM_FILE) else None


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turns whatever another's code raises while it is imported into a `BadValue`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1]
        # A SyntaxError tells its place itself.
        told = isinstance(error, SyntaxError) or last.filename.startswith("<frozen importlib")
        where = "" if told else f" at {last.filename}:{last.lineno}"
        script = ". What it does as a script belongs under if __name__ == '__main__'"
        way_out = script if isinstance(error, SystemExit) else ""
        raise BadValue(f"{what}: {type(error).__name__}{where}: {error}{way_out}") from error


def imported(spec: str, kind: str) -> Any:
    """What `path/to/file.py:Class` or `package.module:Class` names.

    Args:
        kind: What it is, in messages: "agent", "env".

    Raises:
        BadValue: There is no such file, module or name, or it cannot be imported.
    """
    where, _, name = spec.rpartition(":")
    if where.endswith(".py"):
        module = module_of(Path(where), f"{kind} is {spec!r}")
    else:
        module = import_module(where, f"{kind} is {spec!r}")
    with blaming(f"{kind} is {spec!r}: {name} cannot be imported"):  # a module may load it late
        found = getattr(module, name, None)
    if found is None:
        raise BadValue(f"{kind} is {spec!r}: {where} has no class {name}")
    return found


def import_module(module: str, asked: str) -> ModuleType:
    with blaming(f"{asked}: {module or 'nothing'} cannot be imported"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if not f"{module}.".startswith(f"{missing}."):
                raise  # something that the module needs
    raise BadValue(
        f"{asked}: there is no module {missing}. A file is named with its ending: "
        "path/to/file.py:Class"
    )


def module_of(path: Path, asked: str) -> ModuleType:
    """The module that a Python file is; the same one whenever the file is named again."""
    path = resolved(path)
    if not path.is_file():
        raise BadValue(f"{asked}: there is no file {path}")
    for module in list(sys.modules.values()):
        known = getattr(module, "__file__", None)
        if known and Path(known).name == path.name and resolved(Path(known)) == path:
            return module
    # Two files of the same name are two modules.
    name = f"{FROM_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    search(str(path.parent))  # for what lies beside it
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    _loading.append(path)
    try:
        with blaming(f"{asked}: {path} cannot be imported"):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        _loading.pop()
    return module


def search(folder: str) -> None:
    """Lets modules be found in a folder, after all the places where Python looks itself.

    Args:
        folder: Its path; empty for none.
    """
    if folder and folder not in sys.path:
        sys.path.append(folder)


def resolved(path: Path) -> Path:
    """The one path of a file, whichever way it was named."""
    return path.expanduser().resolve()


def absolute(spec: str) -> str:
    """The same with an absolute path: a run may be resumed from another folder."""
    where, _, name = spec.rpartition(":")
    return f"{resolved(Path(where))}:{name}" if where.endswith(".py") else spec


def spec_of(kind: Any, what: str) -> str:
    """How another process finds a class that was handed over in Python."""
    name, module = kind.__module__, sys.modules.get(kind.__module__)
    path = getattr(module, "__file__", None) or ""
    if not path.endswith(".py") or getattr(module, kind.__qualname__, None) is not kind:
        raise BadValue(
            f"the {what} {kind.__qualname__} cannot be found again from a file: define it at the "
            "top level of a Python file (.py), so that the run can be resumed"
        )
    spec = getattr(module, "__spec__", None)
    if name == "__main__":  # by `python -m package.module` it has another name, too
        name = "" if spec is None else spec.name
    # Whoever resumes may have other folders on sys.path; a package is installed, or its files
    # would not find each other.
    by_name = "." in name or hasattr(module, "__path__") or Path(path).parent in _INSTALLED
    return f"{name if by_name else resolved(Path(path))}:{kind.__qualname__}"
