"""Labels of variants, and the differences that are listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sparl
from sparl.analysis import VariantConfig, other_differences, variant_labels
from sparl.methods import Dense


def setting(method=None, agent=None, **run):
    agent = {} if agent is None else agent
    config = sparl.RunConfig("Env-v0", **run)
    return VariantConfig.of(config, sparl.TD3(**agent), method or Dense())


def test_runs_that_differ_in_seed_alone_are_one_variant():
    assert setting(seed=1) == setting(seed=2)
    assert setting(buffer_size=10) != setting()
    assert setting(sparl.RNM("1:4")) != setting(sparl.RNM("1:8"))
    assert setting(agent={"tau": 0.1}) != setting()


def test_a_label_is_the_method_where_that_is_all_that_differs():
    assert variant_labels([setting(), setting(sparl.RNM("1:8"))]) == ["dense", "rnm"]
    assert variant_labels([setting(agent={"hidden": (8, 8), "gamma": 0.5})]) == ["dense"]


def test_a_label_has_the_options_of_the_method_that_differ():
    variants = [sparl.RNM("1:8"), sparl.RNM("2:4"), sparl.RNM("2:4", interval=0), Dense()]
    assert variant_labels([setting(method) for method in variants]) == [
        "rnm pattern=1:8 interval=1000",
        "rnm pattern=2:4 interval=1000",
        "rnm pattern=2:4 interval=0",
        "dense",
    ]


def test_a_label_has_other_options_that_differ_and_are_not_the_default():
    variants = [setting(), setting(agent={"hidden": (64, 32)}), setting(sparl.RNM())]
    assert variant_labels(variants) == ["dense", "dense hidden=64,32", "rnm"]
    assert variant_labels([setting(), setting(buffer_size=7)]) == ["dense", "dense buffer_size=7"]


@dataclass(frozen=True)
class Other(sparl.TD3):
    """An agent with a learning rate of its own."""

    name: ClassVar[str] = "other"
    learning_rate: float = 0.1


def test_a_label_has_the_agent_where_there_are_several():
    run = setting().run
    others = [VariantConfig(run, Other(hidden=h), Dense()) for h in ((256, 256), (8,))]
    variants = [setting(), *others]
    # Each agent has its default learning rate, which only the note mentions.
    assert variant_labels(variants) == ["td3 dense", "other dense", "other dense hidden=8"]
    assert other_differences(variants) == ["learning_rate 0.001 / 0.1"]


def test_different_variants_have_different_labels():
    configs = [
        setting(method, {"tau": tau, "hidden": hidden}, log_every=log_every)
        for method in (Dense(), sparl.RNM("1:4"), sparl.RNM("1:4", keep_norm=False))
        for tau in (0.005, 0.01)
        for hidden in ((8, 8), (8,))
        for log_every in (10, 1000)
    ]
    assert len(set(variant_labels(configs))) == len(configs)


def test_other_differences_leave_out_widths_methods_and_shared_options():
    variants = [
        setting(agent={"learning_rate": 0.001, "hidden": (8, 8)}),
        setting(sparl.RNM(), agent={"learning_rate": 0.0003}),
        setting(sparl.RNM("1:8"), agent={"learning_rate": 0.0003}, buffer_size=50),
    ]
    assert other_differences(variants) == [
        "learning_rate 0.001 / 0.0003",
        "buffer_size 1000000 / 50",
    ]
    assert other_differences([setting(), setting(sparl.RNM(), agent={"hidden": (8,)})]) == []
