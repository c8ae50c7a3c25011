"""`sparl bench device`: exported policies on emulated processors of small devices.

The exported C is cross-compiled for a Cortex-M4F. QEMU runs it without an operating system, with a
clock that counts instructions. So the self-test passes or fails, and the instructions of an action
are counted, not timed. For aarch64 the self-test runs in QEMU's user mode.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from sparl.bench import report
from sparl.errors import BadRun, BadValue
from sparl.exporters import DEVICE_FILE, REPORT_FILE, renamed, template_text
from sparl.storage import files

CORTEX: tuple[str, ...] = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
"""Tools that measuring on a Cortex-M4F needs."""
AARCH64: tuple[str, ...] = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
"""Tools that the self-test on aarch64 needs."""
PACKAGES = (
    "gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm, gcc-aarch64-linux-gnu, qemu-user"
)
"""Debian's packages of all these tools."""
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffunction-sections")
M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
CALLS = 20
"""Actions over which instructions are counted."""
LIMIT = 300
"""Seconds after which an emulator is stopped."""


@dataclass(frozen=True)
class Device:
    """Run exported policies on an emulated Cortex-M4F: self-test, flash, RAM and instructions per
    action; and their self-tests on an emulated aarch64. Needs cross compilers and QEMU."""

    exports: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `sparl export DIR --to c` wrote."""
    optimize: str = "-O3"
    """Optimization option of the compilers."""

    def check(self) -> None:
        """Checks the options before anything is compiled.

        Raises:
            BadValue: A folder is no exported policy.
            BadRun: Neither processor's tools are installed; the message lists their packages.
        """
        for folder in self.exports:
            if not (folder / REPORT_FILE).is_file() or not (folder / _named(folder, "c")).is_file():
                raise BadValue(f"{folder} is no exported policy: sparl export DIR --to c makes one")
        if not missing(CORTEX) or not missing(AARCH64):
            return
        needed = ", ".join(missing(CORTEX) + missing(AARCH64))
        raise BadRun(f"not installed: {needed}. On Debian: {PACKAGES}")


def missing(tools: tuple[str, ...]) -> list[str]:
    """Gives those of the tools that are not installed."""
    return [tool for tool in tools if shutil.which(tool) is None]


def run(options: Device) -> None:
    """Compiles, runs, prints a table, and writes the figures to each export's `device.json`."""
    options.check()
    rows = []
    for folder in report.in_turn(options.exports, str):
        figures: dict[str, Any] = {}
        for name, tools, measure in (
            ("Cortex-M4F", CORTEX, cortex_m4),
            ("aarch64", AARCH64, aarch64),
        ):
            if missing(tools):
                print(
                    f"{name} is left out, because not installed: {missing(tools)}", file=sys.stderr
                )
            else:
                figures |= measure(folder, options.optimize)
        report.write(folder / DEVICE_FILE, figures)
        counts = (figures.get(name) for name in ("flash", "ram", "instructions"))
        cells = ["" if count is None else f"{count:,.0f}" for count in counts]
        tests = [figures.get(name, "") for name in ("cortex_m4", "aarch64")]
        rows.append(["/".join(folder.parts[-3:]), *cells, *tests])
    report.table(["", "flash", "RAM", "instructions", "Cortex-M4F", "aarch64"], rows)


def cortex_m4(export: Path, optimize: str = "-O3") -> dict[str, Any]:
    """Runs an exported policy on an emulated Cortex-M4F.

    Args:
        export: The folder that `sparl export DIR --to c` wrote.
        optimize: Optimization option of the compiler.

    Returns:
        `cortex_m4`: passed or FAILED, the self-test. `instructions` per action. `flash` and `ram`:
        bytes of a program that acts and has no self-test; RAM without the stack.

    Raises:
        BadRun: The policy does not compile, or the emulated program ends unexpectedly.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, export)
        compile_ = ["arm-none-eabi-gcc", *M4, optimize, "-I", export.absolute(), "-I", folder, "-c"]
        _run([*compile_, *FLAGS, *_sources(export, "test/policy_test.c")], folder)
        # The start-up code contains assembly, which is no C99.
        runtime_flags = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", f"-DCALLS={CALLS}"]
        _run([*compile_, *runtime_flags, "count.c", "cortex_m4.c", "acts.c"], folder)
        link = ["arm-none-eabi-gcc", *M4, "-nostartfiles", "-T", "cortex_m4.ld"]
        link += ["-Wl,--gc-sections"]
        parts = ["cortex_m4.o", _named(export, "o")]
        tested = ["count.o", _named(export, "o", "policy_test")]
        _run([*link, *parts, *tested, "-lm", "-o", "count.elf"], folder)
        _run([*link, *parts, "acts.o", "-lm", "-o", "acts.elf"], folder)
        text, data, bss = map(
            int, _run(["arm-none-eabi-size", "acts.elf"], folder).splitlines()[1].split()[:3]
        )
        machine = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-icount", "shift=0"]
        semihosting = ["-semihosting-config", "enable=on,target=native"]
        output = _run([*machine, *semihosting, "-kernel", "count.elf"], folder)
    counts = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)\n", output)}
    if set(counts) != {"failed", "ticks", "million"}:
        raise BadRun(f"{export} on a Cortex-M4F printed {output!r}")
    return {
        "cortex_m4": _passed(counts["failed"]),
        # `million` are the ticks of a loop of a million instructions.
        "instructions": counts["ticks"] / counts["million"] * 1e6 / CALLS,
        "flash": text + data,
        "ram": data + bss,
    }


def aarch64(export: Path, optimize: str = "-O3") -> dict[str, Any]:
    """Runs the self-test of an exported policy on an emulated aarch64.

    Args:
        export: The folder that `sparl export DIR --to c` wrote.
        optimize: Optimization option of the compiler.

    Returns:
        `aarch64`: passed or FAILED.

    Raises:
        BadRun: The policy does not compile.
    """
    with tempfile.TemporaryDirectory() as name:
        command = ["aarch64-linux-gnu-gcc", *FLAGS, optimize, "-static", "-o", "self_test"]
        _run([*command, *_sources(export, "test/policy_test.c", "test/main.c"), "-lm"], Path(name))
        finished = subprocess.run(["qemu-aarch64", "self_test"], cwd=name, timeout=LIMIT)
    return {"aarch64": _passed(finished.returncode)}


def _passed(failed: int) -> str:
    return "FAILED" if failed else "passed"


def _prepare(folder: Path, export: Path) -> None:
    """Writes the start-up code and the programs that are measured into a folder."""
    texts = {name: f"emulated/{name}" for name in ("cortex_m4.ld", "cortex_m4.c", "count.c")}
    texts |= {"emulated.h": "emulated/emulated.h.in", "acts.c": "emulated/acts.c"}
    for name, template in texts.items():
        (folder / name).write_text(renamed(template_text(template), _name(export)))


def _sources(export: Path, *others: str) -> list[str]:
    names = [renamed(file, _name(export)) for file in ("policy.c", *others)]
    return [str(export.absolute() / name) for name in names]


def _name(export: Path) -> str:
    """What its files and symbols begin with; `renamed` refuses what is no name."""
    report = export / REPORT_FILE
    content = files.read_json(report) if report.exists() else {}
    return str(content.get("name", "policy")) if isinstance(content, dict) else "policy"


def _named(export: Path, ending: str, stem: str = "policy") -> str:
    """The name of one of its files, or of what is compiled from it."""
    return renamed(f"{stem}.{ending}", _name(export))


def _run(command: list[Any], folder: Path) -> str:
    finished = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=LIMIT,
    )
    if finished.returncode != 0:
        raise BadRun(f"{command[0]} failed: {(finished.stderr or finished.stdout).strip()[-2000:]}")
    return finished.stdout + finished.stderr
