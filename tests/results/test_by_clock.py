"""Returns by the clock: steps become seconds by measured speeds, and seeds are set side by side."""

import json

import pytest
from drawing import by_clock
from figures import registry

SPEEDS = {"rnm": [90, 100, 500], "tiny": [200], "sb3-sac": [10]}
"""Steps per second; the median counts."""


@pytest.fixture
def presets(tmp_path):
    """Returns are the steps in thousands, and 10 more with each seed; *tiny* has a tenth."""
    folder = tmp_path / "presets" / "Ant-v5"
    folder.mkdir(parents=True)
    (folder / "speeds.json").write_text(json.dumps(SPEEDS))
    (folder / "chance.csv").write_text("actions,mean_return\nrandom actions,-1\nzero actions,1\n")
    lines = ["env,variant,seed,step,eval_return"]
    for who, share, seeds, steps in (("rnm", 1, 3, 40), ("tiny", 0.1, 3, 40), ("sb3-sac", 1, 1, 2)):
        for seed in range(seeds):
            lines += [
                f"Ant-v5,{who},{seed},{1000 * k},{share * (k + 10 * seed)}"
                for k in range(1, steps + 1)
            ]
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "presets"


def cells(presets, who):
    """The row of one of them, without the task."""
    lines = by_clock.table([by_clock.Task(presets / "Ant-v5")]).splitlines()
    (line,) = (line for line in lines if f"| {who} |" in line)
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_return_is_the_mean_of_the_last_fifth_of_the_time(presets):
    # 100 steps a second: 12,000 after two minutes, of which 10,000 to 12,000 count, seeds 10 apart;
    # 30,000 after five, of which 25,000 to 30,000 count. It ends before ten, with 33,000 to 40,000.
    of_it = ["sparl, 1:8", "100", "3", "21", "38", "(46)"]
    assert cells(presets, "sparl, 1:8") == [*of_it, "", "", "", ""]


def test_others_are_beside_it_after_the_longest_time_that_both_have_come_to(presets):
    # tiny has made its 40,000 steps after 200 s, when 1:8 is at 20,000: means of 18.5 and 36.5.
    assert cells(presets, "sparl, tiny")[-3:] == ["18, 28, 38", "4, 5, 6", "24 ± 22"]
    # One seed has no interval: after 200 s the other is at 2,000.
    assert cells(presets, "SB3, SAC")[-4:] == ["200 s", "18", "2", "16"]


def test_a_longer_run_takes_the_place_of_the_presets(presets):
    longer = presets / "Ant-v5" / "ten_minutes"
    longer.mkdir()
    lines = [f"Ant-v5,tiny,{s},{1000 * k},{k}" for s in range(2) for k in range(1, 121)]
    lines = ["env,variant,seed,step,eval_return", *lines]
    (longer / "curves.csv").write_text("\n".join(lines) + "\n")
    # 120,000 steps are ten minutes: 96,001 to 120,000 count. 1:8 ends after 400 s.
    assert cells(presets, "sparl, tiny")[2:7] == ["2", "22", "54", "108", "400 s"]
    assert longer / "curves.csv" in by_clock.outputs(presets)[0].data


def test_it_is_made_where_peers_were_timed(presets):
    made = {o.path.name for o in registry(presets.parent) if o.path.parent == presets}
    assert {"by_clock.md", "by_clock.png"} <= made
    speeds = presets / "Ant-v5" / "speeds.json"
    speeds.write_text(json.dumps({"rnm": [1]}))
    assert by_clock.outputs(presets) == []


def test_a_picture_is_drawn_of_few_and_of_many_seeds(presets):
    assert by_clock.picture([by_clock.Task(presets / "Ant-v5")]).axes
