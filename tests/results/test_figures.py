"""Pictures and tables of `results/` are made from today's data by today's code, all of them."""

import json

import numpy as np
import pytest
from drawing import data, output, study, style
from figures import RESULTS, registry, strays
from PIL import Image

from sparl.training import LoopState

OUTPUTS = registry()
NAMES = [str(made.path.relative_to(RESULTS)) for made in OUTPUTS]


@pytest.mark.parametrize("made", OUTPUTS, ids=NAMES)
def test_is_made_from_the_data_that_are_there(made):
    assert not made.missing()
    assert not made.stale(), "stale: python recipes/figures.py makes it again"


def test_nothing_lies_in_results_that_nothing_makes():
    assert strays() == []


def test_no_two_outputs_are_one_file():
    assert len(set(NAMES)) == len(NAMES)


def test_a_final_return_is_that_of_a_run_s_summary():
    returns = [float(value) for value in range(10)]
    curve = [{"eval_return": str(value)} for value in returns]
    state = LoopState(evaluations=list(enumerate(returns)), wall_seconds=1.0)
    assert data.final_return(curve) == state.summary()["final_return"] == 8


@pytest.fixture
def folder(tmp_path):
    """The results of a made-up study of two variants and two seeds."""
    folder = tmp_path / "shared_rows" / "halfcheetah"
    folder.mkdir(parents=True)
    lines = ["env,variant,seed,step,eval_return"]
    lines += [
        f"HalfCheetah-v5,{name},{seed},{step},{seed + step}"
        for name in ("rnm-1-8", "tiny-1-8")
        for seed in (0, 1)
        for step in (1000, 2000)
    ]
    (folder / data.CURVES).write_text("\n".join(lines) + "\n")
    (folder / data.SPEEDS).write_text(json.dumps({"rnm-1-8": [400.0], "tiny-1-8": [800.0]}))
    return folder


def test_a_new_study_is_found_by_its_curves(tmp_path, folder):
    found = [made.path for made in registry(tmp_path)]
    assert {folder / "curves.png", folder / "table.md"} <= set(found)


def test_a_picture_is_stale_until_drawn_and_when_data_or_code_change(folder, monkeypatch, tmp_path):
    picture = study.outputs(folder)[0]
    assert picture.stale()
    picture.write()
    assert not picture.stale()
    with Image.open(picture.path) as image:
        assert image.info["sparl-data"] == picture.digest()
        assert min(image.size) > 300
    with monkeypatch.context() as patch:
        changed = tmp_path / "style.py"
        changed.write_text("another style")
        patch.setattr(output, "SHARED", (changed,))
        assert picture.stale()
    (folder / data.SPEEDS).write_text(json.dumps({"rnm-1-8": [401.0], "tiny-1-8": [800.0]}))
    assert picture.stale()


def test_a_table_is_stale_when_changed_by_hand(folder):
    table = study.outputs(folder)[1]
    table.write()
    assert not table.stale()
    text = table.path.read_text()
    assert "| rnm-1-8 | 2000, 2001 | 2000 | 400 |" in text  # IQM 2000.5, rounded to even
    table.path.write_text(text.replace("2001", "2101"))
    assert table.stale()


def test_an_absent_file_of_data_is_named(folder):
    picture = study.outputs(folder)[0]
    (folder / data.CURVES).unlink()
    assert picture.missing() == [folder / data.CURVES]


def test_a_tiny_agent_is_dashed_in_the_colour_of_what_it_controls():
    looks = style.looks(["rnm-1-8", "rnm-1-8x4", "dense", "tiny-1-8", "tiny"])
    assert looks["tiny-1-8"] == style.Look(looks["rnm-1-8"].colour, "--")
    assert looks["dense"].colour == "black"
    assert looks["tiny"].style == "--"
    solid = [looks[name].colour for name in ("rnm-1-8", "rnm-1-8x4", "dense", "tiny")]
    assert len(set(solid)) == 4


def test_labels_keep_their_order_and_a_gap():
    wanted = np.array([0.5, 0.99, 0.51, 0.0, 1.0])
    places = style.spread(wanted, 0.1)
    assert np.array_equal(np.argsort(places), np.argsort(wanted))
    assert (np.diff(np.sort(places)) >= 0.1 - 1e-9).all()
    assert places.min() >= 0 and places.max() <= 1 + 1e-9
