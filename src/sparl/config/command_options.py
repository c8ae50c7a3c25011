"""Options of the commands that train which are none of the run, the agent or the method."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sparl.config import groups, run_file
from sparl.config.run import Show

PROGRESS = (
    "off: notes alone. plain: a line now and then. rich: a line that is written anew. If not "
    "given: rich on a terminal, and else plain."
)
WANDB = "Log to this project of Weights & Biases, too (extra `wandb`)."
JOBS = "With --vs or --seeds: runs side by side. If not given, one for each core."
LOCKSTEP = (
    "With --seeds: all learn in this process, and one compiled call makes the updates of all, for "
    "a GPU. There sparse layers are multiplied as dense ones with zeros, which saves nothing."
)
Control = Literal["dense", "tiny"]
BESIDE = (
    groups.option(
        "vs",
        tuple[Control, ...],
        (),
        "Train controls beside, and compare: dense, the dense agent; tiny, a dense one of as many "
        "weights as the method keeps. The same command goes on after a kill.",
    ),
    groups.option(
        "seeds",
        str | None,
        None,
        "Train with each of several seeds, for example 0-9, and compare. --out is the folder of "
        "all the runs then.",
    ),
    groups.option("jobs", int | None, None, JOBS),
    groups.option("lockstep", bool, False, LOCKSTEP),
)
THREADS = (
    "Threads that compute. If not given, one for each core. Of several runs side by side each is "
    "best given its share; the figures are the same with any number."
)
CONFIG = (
    groups.option(
        "config",
        Path | None,
        None,
        "YAML file of options by their names here, env, agent and method among them, or the folder "
        "of a run. What the command line says comes before it.",
    ),
    groups.option(
        "preset",
        str | None,
        None,
        "Such a file that comes with sparl, by its environment: sparl list tells which there are.",
    ),
    groups.option("print_config", bool, False, "Print all options as such a file, and do nothing."),
)


def common(usual: run_file.OfCommand) -> list[groups.Field]:
    """Options of all commands that train, with what a file says of them."""
    text = "Run folder, new or empty. If not given: runs/ENV-METHOD-SEED-TIME-PROCESS."
    return [
        groups.option("out", Path | None, None if usual.out is None else Path(usual.out), text),
        groups.option("quiet", bool, usual.quiet, "Print nothing."),
        groups.option("progress", Show | None, usual.progress, PROGRESS),
        groups.option("threads", int | None, usual.threads, THREADS),
    ]
