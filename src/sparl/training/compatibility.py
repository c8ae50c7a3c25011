"""What of a run, its agent and its environment does not go together, told before the run begins."""

from __future__ import annotations

from typing import Any

from sparl import agents
from sparl.config import RunConfig
from sparl.envs import Spaces
from sparl.errors import BadValue


def refuse_misfit(run: RunConfig, agent: Any, spaces: Spaces, action_space: Any) -> None:
    """Raises `BadEnvironment` where the agent cannot act in the environment, `BadValue` for options
    that go with another agent or environment."""
    actions = "discrete" if spaces.discrete else "continuous"
    agents.refuse_misfit(agent, run.env, actions, action_space)
    if run.dynamic_replay and spaces.discrete:
        raise BadValue(
            "--dynamic-replay measures how far continuous actions are apart; "
            f"{run.env} has discrete ones. Leave it out"
        )
    if agent.ofenet and agent.ofenet.targets > spaces.observation_size:
        raise BadValue(
            f"representation-targets is {agent.ofenet.targets}: observations of {run.env} have "
            f"{spaces.observation_size} components. 0 is for all of them"
        )
    if run.actors:
        _refuse_distributed(run, agent)
    if not isinstance(agent, agents.OnPolicyConfig):
        return
    if run.buffer_size < agent.batch_size:
        raise BadValue(
            f"buffer-size is {run.buffer_size}: it must be at least --batch-size, "
            f"{agent.batch_size}, for an agent that learns from the newest transitions"
        )
    if agent.batch_size < run.envs:
        raise BadValue(
            f"batch-size is {agent.batch_size}: with --envs {run.envs} it must be at least "
            f"{run.envs}, for an agent that learns from what its present policy does"
        )


def _refuse_distributed(run: RunConfig, agent: Any) -> None:
    """Of runs with actors: what these do not do."""
    wrong = {
        f"--envs {run.envs}: each actor has one environment": run.envs > 1,
        f"--vectorization {run.vectorization}, which is for --envs": run.vectorization != "sync",
    }
    for what, asked in wrong.items():
        if asked:
            raise BadValue(f"--actors {run.actors} does not go with {what}. Leave one of them out")
    if isinstance(agent, agents.OnPolicyConfig):
        raise BadValue(
            f"actors is {run.actors}: {agents.name_of(agent)} learns from the newest transitions "
            "alone. Leave --actors out, or choose --agent td3, sac or dqn"
        )
