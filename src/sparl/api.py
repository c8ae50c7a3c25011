"""The Python interface: `train`, `resume`, `prune`, `import_sb3`, `load`, and their `Run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sparl import analysis, exporters, launch
from sparl.agents import TD3, Agent
from sparl.errors import BadValue
from sparl.interop import logs, sb3
from sparl.methods import METHODS, Dense, Method
from sparl.policy import Policy, predict
from sparl.storage import RunFolder, exclusive_folder
from sparl.training import Callback, Evaluation, Evaluator, Explorer, load_policy, snapshot


class Run:
    """A run folder: the policy that was learned, and all that can be done with it.

    `predict` and `save` are the policy's, so that a run stands wherever an agent of
    Stable-Baselines3 does.
    """

    def __init__(self, folder: str | Path, *, trust: bool = False) -> None:
        """
        Args:
            folder: An existing run folder. `BadRun` is raised where there is none.
            trust: Import what it names, though somebody else wrote it: see `Untrusted`.
        """
        self.folder = RunFolder.open(folder, trust).path
        """Everything that the run left."""

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def policy(self) -> Policy:
        """The final policy; of a run that has not come to its end that of its newest checkpoint.

        It is read once: a `Run` made before somebody else resumed the run keeps what it has read.
        """
        return load_policy(self.folder)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The action for one observation, or the actions for a batch of them.

        Args:
            deterministic: False draws actions as the agent explores, by its newest checkpoint.

        Returns:
            Actions as the environment takes them, and `state` as given: see `Policy.predict`.
        """
        if deterministic:
            return self.policy.predict(observation, state, episode_start)
        spaces = self.policy.spaces
        return predict(self._explorer, spaces, observation, state, episode_start)

    def evaluate(self, episodes: int = 10, seed: int = 0, env: Any = None) -> Evaluation:
        """Returns of the policy without exploration, on episodes seeded by `seed`.

        Args:
            env: As for `resume`.
        """
        folder = RunFolder.open(self.folder)
        given = env is not None
        run = launch.in_environment(folder.read_config().run, env) if given else folder.runnable()
        evaluator = Evaluator(run, self.policy.spaces, episodes, seed)
        try:
            return evaluator(self.policy.act)
        finally:
            evaluator.close()

    def resume(self, **options: Any) -> Run:
        """Goes on from the newest checkpoint; options are those of `sparl.resume`.

        This `Run`, too, has the new policy afterwards.
        """
        for read in ("policy", "_explorer"):
            self.__dict__.pop(read, None)
        return resume(self.folder, **options)

    def prune(self, method: Method, **options: Any) -> Run:
        """A new run that prunes what this one has learned; options are those of `sparl.prune`."""
        return prune(self.folder, method, **options)

    def export(self, to: exporters.Target = "c", **options: Any) -> dict[str, Any]:
        """Writes the policy for a device; options are those of `sparl.export`."""
        return exporters.export(self.folder, to, **options)

    def report(self, out: str | Path | None = None, **options: Any) -> Path:
        """Writes a web page about the run: `report.html` in its folder, if not said otherwise."""
        return analysis.report(self.folder, out or self.folder / "report.html", **options)

    def save(self, folder: str | Path) -> None:
        """Writes the policy alone; `sparl.load` reads it."""
        self.policy.save(folder)

    def save_replay(self, path: str | Path) -> None:
        """Writes the replay of the newest checkpoint as a .npz of logs, for `replay` of others."""
        logs.save(RunFolder.open(self.folder), Path(path))

    @cached_property
    def _explorer(self) -> Explorer:
        return Explorer(RunFolder.open(self.folder))


def train(
    env: Any,
    agent: Agent | None = None,
    method: Method | None = None,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    ray_address: str | None = None,
    **options: Any,
) -> Run:
    """Trains an agent; the run folder keeps everything.

    Args:
        env: A gymnasium id (`"HalfCheetah-v5"`), `"module:EnvId"`, `"path/to/file.py:Class"`; a
            class, a function that makes environments, an `EnvSpec`, or an environment. What no
            other process could make again goes, too; give it again to `resume` and `prune`.
        agent: `sparl.TD3()` if not given.
        method: `sparl.RNM(2, 4)`, say; dense if not given.
        out: The run folder, new or empty; `runs/ENV-METHOD-SEED-TIME-PROCESS` if not given.
        ray_address: Of the Ray cluster that `actors` run on; if not given, RAY_ADDRESS or this
            machine. A cluster that `ray.init` has connected to already is used.
        options: Of `sparl.RunConfig`, such as `steps`, `seed`, `env_kwargs`; `wrappers` may be
            classes, or (class, arguments).

    Raises:
        SparlError: Anything a user can put right.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, with the run saved.
    """
    agent = TD3() if agent is None else agent
    method = Dense() if method is None else method
    run = launch.configured(env, options)
    agent = launch.learning_at_once(run, agent)
    folder = launch.new_folder(out, run, method)
    with launch.trainer(folder, run, agent, method, callbacks, quiet, ray_address) as trainer:
        launch.begin(trainer)
    return Run(folder.path)


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    env: Any = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    ray_address: str | None = None,
    trust: bool = False,
) -> Run:
    """Goes on with a run from its newest checkpoint, or from one: `RUN/checkpoints/step-…`.

    With the same `steps` the result is, byte for byte, that of a run never interrupted. More
    `steps` prolong a run; its last episode was cut where the run had ended. That holds for a run
    with one actor, too; several go on with what was learned and seen, and begin new episodes.

    Args:
        steps: Environment steps in all, if others than the run had.
        env: The run's environment, where this process cannot make it from what the run recorded.
        callbacks: As for `train`, and so `quiet` and `ray_address`, which may be another one.
        trust: As for `Run`.
    """
    folder, saved, step = start = launch.start_of(Path(path), trust)
    run, agent, method, spaces = folder.read_config()
    run = run if env is None else launch.in_environment(run, env)
    run = launch.prolonged(run, start, steps)
    started = launch.trainer(folder, run, agent, method, callbacks, quiet, ray_address)
    with launch.writing(folder), exclusive_folder(folder.path), started as trainer:
        launch.refuse_other_spaces(trainer, spaces)
        if step is None:
            launch.begin_again(trainer)
        else:
            launch.take_up(trainer, step, [s for s in saved if s < step])
            if step < run.steps:
                launch.forget_end(folder)
        folder.write_config(run, agent, method, spaces)
        trainer.run()
    return Run(folder.path)


def prune(
    path: str | Path,
    method: Method,
    *,
    steps: int = 100_000,
    env: Any = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    trust: bool = False,
) -> Run:
    """Prunes what a run has learned: a new run that begins with its newest checkpoint.

    Networks (with every weight stored), Adam's moments, targets, the replay and what observations
    are normalised by are taken over; then `method` starts on them, and training goes on for `steps`
    environment steps, over which its schedule stretches. Everything else is as in the run at
    `path`, which stays as it is. `trust` is as for `Run`.

    Args:
        env: As for `resume`.

    Raises:
        BadValue: A method that starts at random places (`Method.prunes` is False).
        SparlError: As `train`.
    """
    if not method.prunes:
        fitting = ", ".join(name for name, kind in METHODS.usable().items() if kind.prunes)
        raise BadValue(
            f"{method.name} does not choose by what a network has learned. What prunes: {fitting}"
        )
    source = RunFolder.open(path, trust)
    run, agent, _, spaces = source.read_config()
    run = run if env is None else launch.in_environment(run, env)
    engine, state = snapshot(source)
    begun_from = str(source.checkpoints.path(state.step).absolute())
    run = replace(run, steps=steps, begun_from=begun_from, pretrain_updates=0)
    folder = launch.new_folder(out, run, method)
    agent = agent.continued(state.step)
    with launch.trainer(folder, run, agent, method, callbacks, quiet) as trainer:
        launch.refuse_other_spaces(trainer, spaces)
        trainer.begin_with_run(source, engine, state)
        launch.begin(trainer)
    return Run(folder.path)


def import_sb3(
    path: str | Path,
    env: Any,
    *,
    steps: int = 10_000,
    learning_rate: float | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Makes a run of an agent that Stable-Baselines3 saved: TD3, SAC or DQN, `model.save(path)`.

    The file has no replay, so the run consists of `steps` environment steps in which the agent
    acts, exploring, and learns nothing. Then it is like any other: `prune` and `resume` go on from
    it. PyTorch is not needed, and no code of the file is run.

    Args:
        env: As for `train`: that it was trained in, which the file does not name. If that was
            within VecNormalize, one that gives what that gave: its statistics are not in the file.
        learning_rate: In place of the file's; needed where that is a schedule.
        seed: Of exploration, sampling and episodes; the file's, or 0, if not given.
        options: Of `sparl.RunConfig`; `buffer_size` is the file's if not given.

    Raises:
        BadFile: A file that is truncated or altered.
        BadValue: An agent that sparl has no equal of, or observations that it was not trained on
            (normalised ones).
        BadEnvironment: An environment that it was not trained in.
    """
    path = Path(path)
    trained = sb3.read(path, learning_rate)
    begun_from = str(path.absolute())
    taken = trained.run | {"steps": steps, "begun_from": begun_from}
    run = launch.configured(env, taken | options)
    run = run if seed is None else replace(run, seed=seed)
    if run.normalize_observations:
        raise BadValue(
            "normalize_observations is True: the agent was trained on observations as its "
            "environment gave them, and would act otherwise. Leave it out"
        )
    method = Dense()
    folder = launch.new_folder(out, run, method)
    agent = replace(trained.agent, learning_starts=steps)
    with launch.trainer(folder, run, agent, method, callbacks, quiet) as trainer:
        trained.refuse_other_spaces(run.env, trainer.spaces)
        trainer.begin_with(trained.learner())
        acts = f"the agent acts for {steps} steps to fill its replay, and learns nothing yet"
        trainer.notes = [*trained.notes, acts]
        launch.begin(trainer)
    return Run(folder.path)


def load(path: str | Path, *, trust: bool = False) -> Run | Policy:
    """A run of a run folder; a policy of a folder that `Policy.save` wrote, which runs no code."""
    return Policy.load(path) if (Path(path) / "policy.json").exists() else Run(path, trust=trust)
