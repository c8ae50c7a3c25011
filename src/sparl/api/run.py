"""A run in Python, and what goes on with one: `load`, `resume`, `prune`, `transfer`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from sparl import analysis, exporters, launch, validation
from sparl.config import Show
from sparl.interop import logs
from sparl.methods import Method
from sparl.policy import Policy, predict
from sparl.storage import RunFolder
from sparl.training import Callback, Evaluation, Explorer, Which, evaluating, load_policy


class Run:
    """A run folder: the policy that was learned, and all that can be done with it.

    `predict` and `save` are the policy's, so that a run stands wherever an agent of
    Stable-Baselines3 does.
    """

    def __init__(self, folder: str | Path, *, which: Which = "final", trust: bool = False) -> None:
        """
        Args:
            folder: An existing run folder. `BadRun` is raised where there is none.
            which: Of its policies: the final one, or the one of the best evaluation. All that the
                run's policy is asked for is this one's.
            trust: Import what it names, though somebody else wrote it: see `Untrusted`.
        """
        self.folder = RunFolder.open(folder, trust).path
        """Everything that the run left."""
        validation.one_of(get_args(Which), which=which)
        self.which: Which = which
        """The policy that is meant: "final" or "best"."""

    def __repr__(self) -> str:
        which = "" if self.which == "final" else f", which={self.which!r}"
        return f"Run({str(self.folder)!r}{which})"

    def _repr_html_(self) -> str:
        return analysis.card(self.folder, self.which)

    @cached_property
    def best(self) -> Run:
        """The same run with the policy of its best evaluation; see `which`. Evaluations count since
        the policy has as many weights as it has at the end."""
        return Run(self.folder, which="best")

    @cached_property
    def policy(self) -> Policy:
        """The final policy; of a run that has not come to its end that of its newest checkpoint.

        The best one where the `Run` was made for that. It is read once: a `Run` made before
        somebody else resumed the run keeps what it has read.
        """
        return load_policy(self.folder, self.which)

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
        with evaluating(run, self.policy.spaces, episodes, seed) as evaluator:
            return evaluator(self.policy.act)

    def resume(self, **options: Any) -> Run:
        """Goes on from the newest checkpoint; options are those of `sparl.resume`.

        This `Run`, too, has the new policy afterwards.
        """
        for read in ("policy", "best", "_explorer"):
            self.__dict__.pop(read, None)
        return resume(self.folder, **options)

    def prune(self, method: Method | str, **options: Any) -> Run:
        """A new run that prunes what this one has learned; options are those of `sparl.prune`."""
        return prune(self.folder, method, **options)

    def transfer(self, env: Any, **options: Any) -> Run:
        """A new run that learns on in another environment: see `sparl.transfer`."""
        return transfer(self.folder, env, **options)

    def export(self, to: exporters.Target = "c", **options: Any) -> dict[str, Any]:
        """Writes the policy for a device; options are those of `sparl.export`."""
        options.setdefault("which", self.which)
        return exporters.export(self.folder, to, **options)

    def report(self, out: str | Path | None = None, **options: Any) -> Path:
        """Writes a web page about the run: `report.html` in its folder, if not said otherwise."""
        options.setdefault("which", self.which)
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


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    eval_every: int | None = None,
    eval_episodes: int | None = None,
    checkpoint_every: int | None = None,
    stop_at_return: float | Literal["never"] | None = None,
    env: Any = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    ray_address: str | None = None,
    trust: bool = False,
) -> Run:
    """Goes on with a run from its newest checkpoint, or from one: `RUN/checkpoints/step-…`.

    With the same options the result is, byte for byte, that of a run never interrupted. More
    `steps` prolong a run; its last episode was cut where the run had ended. That holds for a run
    with one actor, too; several go on with what was learned and seen, and begin new episodes.

    What is changed stays so, and config.json records it under `changes`, with the step.

    Args:
        steps: Environment steps in all, if others than the run had.
        learning_rate: Another step size of Adam; its moments stay. So `eval_every`,
            `eval_episodes` and `checkpoint_every` may be others.
        stop_at_return: Another return to stop at; "never" for none.
        env: The run's environment, where this process cannot make it from what the run recorded.
        callbacks: As for `train`, and so `quiet`, `progress` and another `ray_address`.
        trust: As for `Run`.
    """
    changes = {
        "steps": steps,
        "learning_rate": learning_rate,
        "eval_every": eval_every,
        "eval_episodes": eval_episodes,
        "checkpoint_every": checkpoint_every,
        "stop_at_return": stop_at_return,
    }
    told = (quiet, progress, ray_address, trust)
    with launch.resumed(Path(path), changes, env, callbacks, *told) as trainer:
        trainer.run()
    return Run(trainer.folder.path)


def prune(
    path: str | Path,
    method: Method | str,
    *,
    steps: int = 100_000,
    env: Any = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    trust: bool = False,
) -> Run:
    """Prunes what a run has learned: a new run that begins with its newest checkpoint.

    Networks (with every weight stored), Adam's moments, targets, the replay and what observations
    are normalised by are taken over; then `method` starts on them, and training goes on for `steps`
    environment steps, over which its schedule stretches. A method's `keep_norm` does not count:
    trained weights are not scaled up. Everything else is as in the run at `path`, which stays as it
    is. `trust` is as for `Run`.

    Args:
        env: As for `resume`.

    Raises:
        BadValue: A method that starts at random places (`Method.prunes` is False).
        SparlError: As `train`.
    """
    method = launch.method_of(method)
    folder = launch.prune(path, method, steps, env, out, callbacks, quiet, progress, trust)
    return Run(folder.path)


def transfer(
    path: str | Path,
    env: Any,
    *,
    steps: int = 100_000,
    learning_rate: float | None = None,
    learning_starts: int | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    progress: Show | None = None,
    trust: bool = False,
    **options: Any,
) -> Run:
    """Goes on learning in another environment: a robot after its simulator, a harder task.

    The new run begins with the newest checkpoint of the one at `path`: networks as they are stored,
    Adam's moments, targets, the method's state, and what observations and rewards are normalised
    by. Its replay begins empty, for transitions of another environment tell of that one. A method
    that prunes along the run (`Method.finishes`) has done so: what it left stays, under `dense`,
    which changes nothing. The run at `path` stays as it is. `trust` is as for `Run`.

    Args:
        env: As for `train`; its observations and actions have the shapes of the other one's.
        steps: Environment steps in the new environment.
        learning_rate: Adam's step size, if another one.
        learning_starts: Steps in which the agent acts and learns nothing, to fill its replay. If
            not given, as many as it took before it first learned, 1,000 at least; none where it
            learns without a replay.
        options: Of `sparl.RunConfig`, such as `env_kwargs`, `wrappers`, `envs` and `seed`. The
            seed and those of evaluations, checkpoints, the log and the replay are taken over if
            not given; those that decide what networks see (`normalize_observations`, say) always
            are. How the environment is made, and what is done in other processes, is not.

    Raises:
        BadValue: Such an option, or other shapes of observations or actions.
        SparlError: As `train`.
    """
    changes = {"learning_rate": learning_rate, "learning_starts": learning_starts}
    told = (out, callbacks, quiet, progress, trust)
    folder = launch.transfer(path, env, {"steps": steps} | options, changes, *told)
    return Run(folder.path)


def load(path: str | Path, *, which: Which = "final", trust: bool = False) -> Run | Policy:
    """A run of a run folder; of one that `Policy.save` wrote the policy. For options see `Run`."""
    if (Path(path) / "policy.json").exists():
        return load_policy(path, which)
    return Run(path, which=which, trust=trust)
