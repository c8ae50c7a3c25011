"""Presets: files of options that come with sparl, and what their comments say of them."""

from __future__ import annotations

import re

import presets as recipe
import pytest

from sparl.config import options, presets
from sparl.errors import BadValue
from sparl.methods import DSP, RNM, Dense

MEASURED = [name for name in presets.names() if (recipe.RESULTS / name).exists()]


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_of_its_environment_and_sparse(name):
    asked = options.parse(["--preset", name, "--seed", "5"])
    assert (asked.run.env, asked.run.seed) == (name, 5)
    assert not isinstance(asked.method, Dense)
    assert presets.describe(name).endswith(".")


def test_every_preset_was_measured():
    assert presets.names() == MEASURED


@pytest.mark.parametrize("name", MEASURED)
def test_the_comment_has_what_was_recorded(name):
    lines = presets.path_of(name).read_text(encoding="utf-8").splitlines()
    wanted = recipe.comment(name)
    assert lines[1 : 1 + len(wanted)] == wanted
    assert not lines[1 + len(wanted)].startswith("#")


def test_the_gallery_shows_every_preset_with_its_weights():
    gallery = (recipe.ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"\*\*(\S+-v\d)\*\*:[^`]*?([\d,]+) weights", gallery))
    own = {name: recipe.measured(name)[0] for name in MEASURED}
    assert told == {name: f"{int(row['weights']):,}" for name, row in own.items()}
    assert all((recipe.RESULTS / name / recipe.FILM).exists() for name in MEASURED)


def test_the_words_come_before_the_preset():
    asked = options.parse(["--preset", "Pendulum-v1", "--steps", "7", "--agent", "sac"])
    assert (asked.run.steps, asked.agent.name) == (7, "sac")


def test_another_method_has_options_of_its_own():
    asked = options.parse(["--preset", "CartPole-v1", "--method", "dsp"])
    assert asked.method == DSP() and asked.agent.n_epochs == 20
    asked = options.parse(["--preset", "CartPole-v1", "--method", "rnm", "--interval", "7"])
    assert asked.method == RNM("1:8", interval=7)


def test_another_agent_is_refused_by_the_names_of_both():
    with pytest.raises(BadValue, match=r"CartPole-v1.* is for agent ppo, and agent is dqn"):
        options.parse(["--preset", "CartPole-v1", "--agent", "dqn"])


def test_what_there_is_not_is_told_with_what_there_is():
    with pytest.raises(BadValue, match=r"preset is 'Pendulum-v2'.*Did you mean Pendulum-v1\?"):
        options.parse(["--preset", "Pendulum-v2"])
    with pytest.raises(BadValue, match=r"preset is Pendulum-v1, and config is a\.yaml: give one"):
        options.parse(["--preset", "Pendulum-v1", "--config", "a.yaml"])
