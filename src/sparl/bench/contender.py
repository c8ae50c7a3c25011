"""Times the training of one contender: `sparl bench train` runs this file as a process.

    python -P contender.py NAME AGENT ENV WIDTH STEPS [CORE]

prints the steps per second and the microseconds of processor time of a step. NAME is a peer, or how
sparl's critics are: dense, N:M, or either of another width, as 1:8@512. With CORE the process
computes on that core alone.

The file is run by its path and imports sparl and JAX only where they are needed. So the process of
another library is like that of its own users. All contenders of an agent have two hidden layers of
one width and the settings below, with one update per environment step.
"""

# The other libraries come with the extra `bench`; types are checked without them.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

RANDOM, WARM = 500, 1_500
"""Random steps at the start, and steps before the clock starts. The clock starts after the first
restructuring, when everything is compiled."""

BATCH, NOISE = 256, 0.1
LEARNING_RATE = {"td3": 3e-4, "sac": 3e-4, "crossq": 1e-3}
DELAY = {"td3": 2, "crossq": 3}
"""Critic updates to one of the policy; SAC has none of this option in other libraries."""


class Speed(NamedTuple):
    """What is measured of a contender."""

    steps_per_second: float
    core_us: float
    """Microseconds of processor time for a step, of the process and of its children that ended."""


class Clock:
    """Times the steps behind the first `WARM`; whoever trains tells it of every step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._at: dict[int, tuple[float, float]] = {}

    def step(self, done: int) -> None:
        """Takes note that so many steps are done."""
        if done in (WARM, WARM + self.steps):
            used = time.process_time() + sum(os.times()[2:4])
            self._at[done] = time.perf_counter(), used

    def speed(self) -> Speed:
        """Gives the speed of the timed steps."""
        (started, used), (ended, used_then) = self._at[WARM], self._at[WARM + self.steps]
        return Speed(self.steps / (ended - started), 1e6 * (used_then - used) / self.steps)


def sparl(name: str, agent: str, env: str, width: int, steps: int) -> Speed:
    """Gives the speed of sparl.

    Args:
        name: dense or N:M, and behind an @ the width of the critics' layers, if another.
        agent: td3, sac or crossq.
        env: Gymnasium id.
        width: Width of both hidden layers.
        steps: Timed steps.
    """
    from sparl import api
    from sparl.training import Callback, Interrupted

    clock = Clock(steps)

    class AtSteps(Callback):
        def on_step(self, step: int) -> None:
            clock.step(step)

    pattern, _, critics = name.partition("@")
    last = WARM + steps
    with tempfile.TemporaryDirectory() as folder:
        try:
            api.train(
                env,
                agent_of(agent, width, int(critics or width)),
                # Where critics have a width of their own, the actor beside them is dense.
                method_of(pattern, "none" if critics else None),
                steps=last,
                # The only evaluation comes after the clock was read for the last time.
                eval_every=last,
                eval_episodes=1,
                log_every=WARM,
                checkpoint_every=10 * last,
                out=Path(folder) / "run",
                quiet=True,
                callbacks=[AtSteps()],
            )
        except Interrupted:
            # Its message says how to resume the run, but that run is deleted here.
            raise KeyboardInterrupt from None
    return clock.speed()


def agent_of(agent: str, width: int, critics: int | None = None) -> Any:
    """Gives sparl's agent with the settings of all contenders.

    Args:
        agent: td3, sac or crossq.
        width: Width of both hidden layers.
        critics: Width of the critics' layers, if another.
    """
    from sparl.agents import SAC, TD3, CrossQ

    own: dict[str, Any] = {"policy_delay": DELAY[agent]} if agent in DELAY else {}
    if agent == "td3":
        own["exploration_noise"] = NOISE
    kinds = {"td3": TD3, "sac": SAC, "crossq": CrossQ}
    return kinds[agent](
        hidden=(width, width),
        critic_hidden=() if critics in (None, width) else (critics, critics),
        learning_rate=LEARNING_RATE[agent],
        batch_size=BATCH,
        learning_starts=RANDOM,
        **own,
    )


def method_of(pattern: str, actor_pattern: str | None = None) -> Any:
    """Gives the method of a pattern: `Dense` for dense, RNM for N:M.

    Args:
        pattern: Of all networks.
        actor_pattern: Of the actor, if another.

    Raises:
        BadValue: The pattern is neither.
    """
    from sparl.errors import BadValue
    from sparl.methods import RNM, Dense

    if pattern == "dense":
        return Dense()
    if ":" not in pattern:
        raise BadValue(f"pattern {pattern!r} is neither dense nor N:M, as 2:4")
    return RNM(pattern, actor_pattern=actor_pattern)


def stable_baselines(name: str, agent: str, env: str, width: int, steps: int) -> Speed:
    """Gives the speed of Stable-Baselines3 (sb3) or of SBX (sbx), on the CPU."""
    import gymnasium as gym
    import numpy as np
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    if name == "sb3":
        import stable_baselines3 as library
    else:
        import sbx as library
    if sys.platform == "linux":
        # PyTorch takes one thread per physical core; XLA takes all cores the process may use.
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    clock = Clock(steps)

    class AtSteps(BaseCallback):
        def _on_step(self) -> bool:
            clock.step(self.num_timesteps)
            return True

    environment = gym.make(env)
    assert isinstance(environment.action_space, gym.spaces.Box)
    size = environment.action_space.shape[0]
    own: dict[str, Any] = {"policy_delay": DELAY[agent]} if agent in DELAY else {}
    if agent == "td3":
        own["action_noise"] = NormalActionNoise(np.zeros(size), NOISE * np.ones(size))
    kinds = {"td3": "TD3", "sac": "SAC", "crossq": "CrossQ"}
    model = getattr(library, kinds[agent])(
        "MlpPolicy",
        environment,
        learning_rate=LEARNING_RATE[agent],
        batch_size=BATCH,
        learning_starts=RANDOM,
        train_freq=1,
        gradient_steps=1,
        policy_kwargs={"net_arch": [width, width]},
        device="cpu",
        seed=0,
        **own,
    )
    model.learn(WARM + steps, callback=AtSteps())
    return clock.speed()


def rltools(name: str, agent: str, env: str, width: int, steps: int) -> Speed:
    """Gives the speed of RLtools, by its Python package, which compiles its C++ for the sizes.

    It computes with one thread, as it does for its users.
    """
    import gymnasium as gym
    import numpy as np
    import rltools as library

    # Processes that run at once have other cores, and must not compile into one folder.
    cores = os.sched_getaffinity(0) if sys.platform == "linux" else ()
    own = {} if agent == "sac" else {"EXPLORATION_NOISE": NOISE}
    one = np.float32(1)
    module = getattr(library, agent.upper())(
        lambda: gym.wrappers.RescaleAction(gym.make(env), -one, one),
        enable_evaluation=False,
        interface_name="_".join(["sparl", *map(str, sorted(cores))]),
        ACTOR_BATCH_SIZE=BATCH,
        CRITIC_BATCH_SIZE=BATCH,
        N_WARMUP_STEPS=RANDOM,
        STEP_LIMIT=WARM + steps,
        ACTOR_HIDDEN_DIM=width,
        CRITIC_HIDDEN_DIM=width,
        OPTIMIZER_ALPHA=LEARNING_RATE[agent],
        **own,
    )
    clock, state = Clock(steps), module.State(0)
    for done in range(1, WARM + steps + 1):
        state.step()
        clock.step(done)
    return clock.speed()


MEASURES = {"sb3": stable_baselines, "sbx": stable_baselines, "rltools": rltools}


def main(name: str, agent: str, env: str, width: str, steps: str, core: str = "") -> None:
    """Prints the figures of a contender's `Speed`."""
    if core and sys.platform == "linux":
        os.sched_setaffinity(0, {int(core)})
    print(*MEASURES.get(name, sparl)(name, agent, env, int(width), int(steps)))


if __name__ == "__main__":
    main(*sys.argv[1:])
