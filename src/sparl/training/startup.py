"""What the user is told when a run starts."""

from __future__ import annotations

from dataclasses import fields

import jax

from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.training import cores, memory
from sparl.training.collector import Host

IDLE = {
    "dynamic_replay": ("buffer_min", "buffer_drift"),
    "prioritised": ("priority_exponent", "importance_exponent"),
}
"""Options of a run that do nothing while another one has its default."""


def headline(trainer: Host) -> str:
    """Names the environment, the agent, the method, the folder, and the size of the networks."""
    run, engine = trainer.config, trainer.engine
    networks = engine.learner.all_networks()
    bytes_share = 1 - engine.footprint.compression_ratio_with_indices
    return (
        f"{run.env}: {engine.agent.name} with method {engine.method.name}, seed "
        f"{run.seed}, into {trainer.folder.told}\n{_counted(len(networks))}, targets included, "
        f"{engine.sparsity:.0%} of their weights left out, in {bytes_share:.0%} of the bytes of "
        "dense ones"
    )


def _counted(networks: int) -> str:
    return "1 network" if networks == 1 else f"{networks} networks"


def notes(trainer: Host) -> list[str]:
    """Sentences on what the run takes of the machine, and on what comes before learning.

    Raises:
        BadValue: The disk is too small for it.
    """
    run, engine = trainer.config, trainer.engine
    learner = sum(array.nbytes for array in jax.tree.leaves(engine.arrays))
    sizes = memory.disk_note(run, engine.columns, learner, trainer.folder)
    busy = cores.busy_note()
    told = [sizes, *([] if busy is None else [busy]), *_without_effect(run)]
    return [*told, *_before_learning(run, trainer.agent)]


def _without_effect(run: RunConfig) -> list[str]:
    """Sentences on options that were given, and do nothing without another one."""
    usual = {field.name: field.default for field in fields(run)}
    unread = (
        {
            "vectorization is envpool": run.vectorization == "envpool",
            "envs is 1": run.envs == 1 and run.vectorization == "sync" and not run.actors,
            f"actors is {run.actors}": bool(run.actors),
        }
        if run.autoreset != usual["autoreset"]
        else {}
    )
    idle = [
        f"{name} is {value} and does nothing: {switch} is {usual[switch]}"
        for switch, names in IDLE.items()
        if getattr(run, switch) == usual[switch]
        for name in names
        if (value := getattr(run, name)) != usual[name]
    ]
    told = f"autoreset is {run.autoreset} and does nothing"
    return [*idle, *(f"{told}: {why}" for why, holds in unread.items() if holds)]


def _before_learning(run: RunConfig, agent: Agent) -> list[str]:
    """Sentences on what happens before learning begins, and a warning if it never begins."""
    starts, before = agent.learning_starts, agent.updates_before
    # A run that began with another one has what that one's replay still held of its logs.
    logs = [
        f"the replay begins with {run.replay_transitions} transitions logged in {run.replay} "
        f"(sha256 {run.replay_sha256[:12]}…)"
    ] * (run.replay != "" and not run.begun_from)
    if run.steps <= starts:
        return [
            *logs,
            f"learning starts after step {starts} and the run ends at step {run.steps}: nothing "
            "will be learned. Lower learning_starts or raise steps.",
        ]
    if before:
        first = f"{before} updates of the representation alone come first, after step {starts}"
        return [*logs, first]
    return logs
