"""What a study file says, and what of it is refused before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparl.config import options
from sparl.errors import BadFile, BadValue
from sparl.sweeps import Study

ENV = "environments:Point-v0"
FILE = f"""
envs: [{ENV}, "environments:Steps-v0"]
seeds: 0-1
steps: 60
options:
  hidden: [8, 8]
  learning_rate: 1e-3
  env_kwargs: {{}}
variants:
  dense: {{agent: dqn}}
  sparse, 1:8:
    agent: crossq
    method: rnm
    pattern: 1:8
    keep-norm: false
    norm: batch
    hidden: [16]
"""


def study(**changes):
    return {"envs": ENV, "variants": {"dense": {}}} | changes


def test_a_file_is_read_as_yaml_1_2_and_makes_the_runs_of_the_command_line(tmp_path):
    """PyYAML by itself reads 1:8 as 68, and 1e-3 as text."""
    file = tmp_path / "study.yaml"
    file.write_text(FILE)
    jobs = Study.read(file).jobs()
    names = [job.name for job in jobs]
    assert names[:3] == [
        "environments-Point-v0/dense-0",
        "environments-Point-v0/sparse, 1:8-0",
        "environments-Steps-v0/dense-0",
    ]
    assert len(set(names)) == len(jobs) == 8
    last = jobs[5]  # of seed 1
    assert (last.variant, last.seed, last.steps) == ("sparse, 1:8", 1, 60)
    assert last.agent.name == "crossq" and last.agent.hidden == (16,)
    assert last.agent.learning_rate == 1e-3
    assert (last.method.pattern, last.method.keep_norm) == ("1:8", False)
    parsed = options.parse(last.words[1:])
    assert (parsed.agent, parsed.method) == (last.agent, last.method)
    assert (parsed.run.env, parsed.run.seed, parsed.run.steps) == (ENV, 1, 60)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"variant": {}}, "has 'variant': a study has envs, variants, seeds, steps, options"),
        ({"envs": []}, "has no envs"),
        ({"envs": [3]}, "envs is .*list of names"),
        ({"envs": "environments:NoSuch-v0"}, "NoSuch"),
        ({"envs": [ENV, ENV]}, "are the same"),
        ({"variants": {}}, "has no variants"),
        ({"variants": {"../up": {}}}, "a variant is called"),
        ({"variants": {"a": [1]}}, "variant a is .* names"),
        ({"variants": {"a": {}, "b": {"hidden": [256, 256]}}}, "a in .* and b in .* are the same"),
        ({"variants": {"a": {"patern": "1:8"}}}, "variant a .* no option patern"),
        ({"variants": {"a": {"pattern": "1:8"}}}, "no option pattern .* method dense"),
        ({"variants": {"a": {"seed": 1}}}, "no option seed"),
        ({"variants": {"a": {"agent": "dqn", "policy_delay": 2}}}, "no option policy_delay"),
        ({"variants": {"a": {"method": "rnm", "n": 1}}}, "no option n "),
        ({"variants": {"a": {"agent": "td4"}}}, "td4"),
        ({"options": {"hidden": "wide"}}, "hidden is 'wide'"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"steps": 0}, "steps is 0"),
        ({"seeds": "a"}, "seeds has 'a'"),
        ({"seeds": True}, "seeds has True"),
        ({"seeds": "5-2"}, "lower end first"),
        ({"seeds": [1, "0-2"]}, "each seed once"),
        ({"seeds": []}, "one at least"),
    ],
)
def test_what_a_study_must_not_say_is_named(changes, message):
    with pytest.raises(BadValue, match=message):
        Study.of(study(**changes)).jobs()


@pytest.mark.parametrize(
    "text, message",
    [
        ("envs: [a", "in line 1"),
        ("envs: a\nenvs: b", "in line 2, .*'envs' comes twice"),
        ("- a", "has no options"),
        ("1: a", "is no name"),
        ("a: !!python/object:os.system {}", "in line 1"),
    ],
)
def test_a_file_that_is_no_study_is_named_with_its_line(text, message, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(BadFile, match=message):
        Study.read(file)


def test_the_study_of_the_guide_can_be_run(tmp_path):
    guide = Path(__file__).parents[2] / "docs" / "guides" / "sweep.md"
    (shown,) = re.findall(r"```yaml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "study.yaml"
    file.write_text(shown)
    assert len(Study.read(file).jobs()) == 15


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadFile, match=r"none\.yaml cannot be read"):
        Study.read(tmp_path / "none.yaml")


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=5), st.integers(0, 20))
def test_seeds_are_numbers_ranges_or_both(single, length):
    first = max(single) + 1
    entries = [*single, f"{first}-{first + length}"]
    seeds = Study.of(study(seeds=entries)).seeds
    assert seeds == (*single, *range(first, first + length + 1))
