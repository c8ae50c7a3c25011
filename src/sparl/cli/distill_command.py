"""`sparl distill`: a small student of a trained policy, beside its teacher and beside chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from sparl import distillation, launch, training
from sparl.cli import commands, tables
from sparl.cli.training_commands import callbacks_of
from sparl.config import command_options, options, run_file
from sparl.distillation import STEPS, DAgger
from sparl.errors import BadValue
from sparl.methods import Dense
from sparl.storage import quoted

PROG = "sparl distill"


def distill(arguments: list[str]) -> None:
    """Trains students, and prints what they keep of their teacher's return."""
    args, further = tyro.cli(commands.Distill, prog=PROG, args=arguments, return_unknown_args=True)
    for option in ("--agent", "--preset", "--config"):
        if any(word.partition("=")[0] == option for word in further):
            raise BadValue(
                f"a student learns by dagger, with its teacher's options: leave {option} out"
            )
    run, student = distillation.configured(args.teacher, args.env, {"steps": STEPS}, args.trust)

    def usual(_: Path) -> dict[str, Any]:
        return run_file.options_of_run(run, student, Dense())

    asked = options.parse([run.env, "--config", str(args.teacher), *further], usual, PROG)
    if asked.print_config:
        print(run_file.text(asked.run, asked.agent, asked.method), end="")
        return
    for name, *_ in command_options.BESIDE:
        if getattr(asked, name):
            raise BadValue(f"{name} is given: sparl sweep trains students with several seeds")
    training.limit_threads(asked.threads)
    out = asked.out or launch.default_folder(asked.run, asked.method)
    assert isinstance(asked.agent, DAgger)
    found = distillation.train_students(
        asked.run,
        asked.agent,
        asked.method,
        until=args.until,
        episodes=args.episodes,
        out=out,
        callbacks=callbacks_of(asked.wandb),
        quiet=asked.quiet,
        progress=asked.progress,
    )
    if not asked.quiet:
        tables.print_distilled(found)
    chosen = quoted(Path(found.chosen.folder))
    print(f"  sparl eval {chosen}\n  sparl export {chosen} --dtype int8")
