"""`sparl bench device`: exported policies on processors of small devices, emulated.

The exported C is cross-compiled for a Cortex-M4F, which QEMU then runs without an operating system,
its clock going by instructions: the self-test passes or fails, and the instructions of an action
are counted. For aarch64 the self-test runs in QEMU's user mode.
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
from sparl.exporters import DEVICE_FILE, REPORT_FILE, template_text

CORTEX = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
AARCH64 = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
PACKAGES = (
    "gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm, gcc-aarch64-linux-gnu, qemu-user"
)
"""Debian's, that have these tools."""
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffunction-sections")
M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
CALLS, LIMIT = 20, 300
"""Actions that are counted, and seconds after which an emulator is stopped."""


@dataclass(frozen=True)
class Device:
    """Run exported policies on an emulated Cortex-M4F: self-test, flash, RAM and instructions per
    action; and their self-tests on an emulated aarch64. Needs cross compilers and QEMU."""

    exports: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that `sparl export DIR --to c` wrote."""
    optimize: str = "-O3"
    """Of the compilers."""

    def check(self) -> None:
        """Raises what a user can put right, before anything is compiled."""
        for folder in self.exports:
            if not (folder / "policy.c").is_file() or not (folder / REPORT_FILE).is_file():
                raise BadValue(f"{folder} is no exported policy: sparl export DIR --to c makes one")
        if not missing(CORTEX) or not missing(AARCH64):
            return
        needed = ", ".join(missing(CORTEX) + missing(AARCH64))
        raise BadRun(f"not installed: {needed}. On Debian: {PACKAGES}")


def missing(tools: tuple[str, ...]) -> list[str]:
    return [tool for tool in tools if shutil.which(tool) is None]


def run(asked: Device) -> None:
    """Compiles, runs, prints a table, leaves the figures in each export's `device.json`."""
    asked.check()
    rows = []
    for folder in report.in_turn(asked.exports, str):
        found: dict[str, Any] = {}
        for name, tools, measure in (
            ("Cortex-M4F", CORTEX, cortex_m4),
            ("aarch64", AARCH64, aarch64),
        ):
            if missing(tools):
                print(f"{name} is left out: not installed: {missing(tools)}", file=sys.stderr)
            else:
                found |= measure(folder, asked.optimize)
        report.write(folder / DEVICE_FILE, found)
        counts = (found.get(name) for name in ("flash", "ram", "instructions"))
        told = ["" if count is None else f"{count:,.0f}" for count in counts]
        tests = [found.get(name, "") for name in ("cortex_m4", "aarch64")]
        rows.append(["/".join(folder.parts[-3:]), *told, *tests])
    report.table(["", "flash", "RAM", "instructions", "Cortex-M4F", "aarch64"], rows)


def cortex_m4(export: Path, optimize: str = "-O3") -> dict[str, Any]:
    """Of an exported policy on a Cortex-M4F: whether the self-test passed; instructions per action;
    bytes of flash and RAM of a program that acts, the stack apart, without the self-test.

    Raises `BadRun` for what does not compile, or ends otherwise than it should.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        compile_ = ["arm-none-eabi-gcc", *M4, optimize, "-I", export.absolute(), "-I", folder, "-c"]
        _run([*compile_, *FLAGS, *_sources(export, "policy_test.c")], folder)
        # The start has assembly in it, which is no C99.
        around = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", f"-DCALLS={CALLS}"]
        _run([*compile_, *around, "count.c", "cortex_m4.c", "acts.c"], folder)
        link = ["arm-none-eabi-gcc", *M4, "-nostartfiles", "-T", "cortex_m4.ld"]
        link += ["-Wl,--gc-sections"]
        parts = ["cortex_m4.o", "policy.o"]
        _run([*link, *parts, "count.o", "policy_test.o", "-lm", "-o", "count.elf"], folder)
        _run([*link, *parts, "acts.o", "-lm", "-o", "acts.elf"], folder)
        text, data, bss = map(
            int, _run(["arm-none-eabi-size", "acts.elf"], folder).splitlines()[1].split()[:3]
        )
        machine = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-icount", "shift=0"]
        semihosting = ["-semihosting-config", "enable=on,target=native"]
        said = _run([*machine, *semihosting, "-kernel", "count.elf"], folder)
    found = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)\n", said)}
    if set(found) != {"failed", "ticks", "million"}:
        raise BadRun(f"{export} on a Cortex-M4F said {said!r}")
    return {
        "cortex_m4": _passed(found["failed"]),
        "instructions": found["ticks"] / found["million"] * 1e6 / CALLS,
        "flash": text + data,
        "ram": data + bss,
    }


def aarch64(export: Path, optimize: str = "-O3") -> dict[str, Any]:
    """Whether the self-test passes on aarch64. Raises as `cortex_m4`."""
    with tempfile.TemporaryDirectory() as name:
        command = ["aarch64-linux-gnu-gcc", *FLAGS, optimize, "-static", "-o", "self_test"]
        _run([*command, *_sources(export, "policy_test.c", "main.c"), "-lm"], Path(name))
        done = subprocess.run(["qemu-aarch64", "self_test"], cwd=name, timeout=LIMIT)
    return {"aarch64": _passed(done.returncode)}


def _passed(failed: int) -> str:
    return "FAILED" if failed else "passed"


def _prepare(folder: Path) -> None:
    for name in ("cortex_m4.ld", "cortex_m4.c", "count.c"):
        (folder / name).write_text(template_text(f"emulated/{name}"))
    (folder / "emulated.h").write_text(template_text("emulated/emulated.h.in"))
    (folder / "acts.c").write_text(template_text("emulated/acts.c"))


def _sources(export: Path, *others: str) -> list[str]:
    return [str(export.absolute() / name) for name in ("policy.c", *others)]


def _run(command: list[Any], folder: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=LIMIT
    )
    if done.returncode != 0:
        raise BadRun(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout + done.stderr
