"""What of a run, its agent and its environment does not go together, told before the run begins."""

from __future__ import annotations

from typing import Any

import jax

from sparl import agents
from sparl.agents import Agent
from sparl.config import RunConfig
from sparl.engine import Engine
from sparl.envs import Spaces, views_of
from sparl.errors import BadValue
from sparl.methods import Method
from sparl.replay import Columns


def refuse_misfit(
    run: RunConfig, agent: Agent, method: Method, spaces: Spaces, action_space: Any
) -> None:
    """Refuses what cannot work before anything is written.

    Raises:
        BadEnvironment: The agent cannot act in the environment.
        BadValue: An option goes with another agent, environment or option.
    """
    actions = "discrete" if spaces.discrete else "continuous"
    agents.refuse_misfit(agent, run.env, actions, action_space)
    if run.dynamic_replay and isinstance(agent, agents.OnPolicyAgent):
        raise BadValue(
            f"dynamic_replay is for agents that learn from all that they have done; {agent.name} "
            "learns from what its present policy does. Leave it out"
        )
    if run.dynamic_replay and spaces.discrete:
        raise BadValue(
            "dynamic_replay measures how far continuous actions are apart; "
            f"{run.env} has discrete ones. Leave it out"
        )
    if agent.ofenet and agent.ofenet.targets > spaces.observation_size:
        raise BadValue(
            f"representation_targets is {agent.ofenet.targets}: observations of {run.env} have "
            f"{spaces.observation_size} components. 0 is for all of them"
        )
    if run.replay and isinstance(agent, agents.OnPolicyAgent):
        raise BadValue(
            f"replay is {run.replay}: {agent.name} learns from what its present policy does, and "
            "never from logs. Choose td3, sac or dqn"
        )
    if run.offline and method.needs_episodes:
        raise BadValue(
            f"method is {method.name}, which prunes while the return of training holds, and with "
            "offline there are no episodes. Give tolerance 1 and gate_errors 0, or choose another "
            "method"
        )
    if run.actor_obs or run.critic_obs:
        _refuse_with_views(run, agent)
    if run.actors:
        _refuse_with_actors(run)
    if run.pipeline == "on":
        _refuse_with_pipeline(run, agent)
    agent.check_run(run)


def columns_of(run: RunConfig, agent: Agent, spaces: Spaces) -> Columns:
    """The columns of an agent's rows in a run, and what of an observation its networks see.

    Raises:
        BadValue: The run names entries that observations do not have.
    """
    views = views_of(spaces, run.actor_obs, run.critic_obs)
    sizes = spaces.observation_size, spaces.action_size
    return Columns(*sizes, spaces.discrete, agent.extras, views)


def engine_of(
    run: RunConfig,
    agent: Agent,
    method: Method,
    columns: Columns,
    planned: int | None = None,
    kind: type[Engine] = Engine,
) -> Engine:
    """The engine of a run; for `planned` see `Engine`.

    Raises:
        BadValue: JAX computes in 64 bits; an environment may have said so when it was imported.
    """
    if jax.config.read("jax_enable_x64"):
        raise BadValue(
            "jax_enable_x64 is True, and sparl computes in 32 bits: take it out of the "
            "environment's code, or JAX_ENABLE_X64 out of the shell"
        )
    seen = run.normalize_observations, planned, run.clip_observations
    return kind(agent, method, columns, run.seed, *seen)


def _refuse_with_views(run: RunConfig, agent: Agent) -> None:
    if agent.ofenet:
        raise BadValue(
            "actor_obs and critic_obs do not go with representation ofenet, which reads whole "
            "observations, and which the actor needs too. Leave one of them out"
        )
    if run.critic_obs and set(agent.roles) == {agent.acting[0]}:
        raise BadValue(
            f"critic_obs is {' '.join(run.critic_obs)}: {agent.name} has no critics beside the "
            "networks that act. Say what these see: actor_obs"
        )


def _refuse_with_actors(run: RunConfig) -> None:
    wrong = {
        f"envs {run.envs}: each actor steps one environment, so ask for as many actors": (
            run.envs > 1
        ),
        f"vectorization {run.vectorization}, which is for several envs": (
            run.vectorization != "sync"
        ),
    }
    for what, is_asked in wrong.items():
        if is_asked:
            raise BadValue(f"actors {run.actors} does not go with {what}. Leave one of them out")


def _refuse_with_pipeline(run: RunConfig, agent: Agent) -> None:
    """Refuses runs in which no environment is stepped while updates run."""
    where = "pipeline is on: it steps the environment while updates run"
    if run.offline:
        raise BadValue(f"{where}, and with offline there are no steps. Leave one of them out")
    if run.actors:
        raise BadValue(f"{where}, and actors do so anyway. Leave one of pipeline and actors out")
    if not isinstance(agent, agents.OffPolicyAgent):
        raise BadValue(
            f"{where}, and {agent.name} learns from what its newest policy has done. Use pipeline "
            "off, or td3, sac or dqn"
        )
    if agent.train_unit == "episodes":
        raise BadValue(
            f"{where}, and with train_unit episodes it stands still then. Leave one of the two out"
        )
