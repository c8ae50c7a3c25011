"""The rule by which the page of claims decides."""

import csv

import pytest
from drawing import claims


@pytest.mark.parametrize(
    ("differences", "bar", "expected"),
    [
        ([0.10, 0.12, 0.14], 0.0, "met"),
        ([-0.04, -0.02, 0.0], -0.1, "met"),
        ([-0.20, -0.22, -0.24], -0.1, "not met at this length"),
        ([-0.5, 0.0, 0.5], -0.1, "open"),
        ([0.10, 0.12], 0.0, "open: too few seeds"),
        ([0.5], 0.0, "open: too few seeds"),
        ([], 0.0, "open: too few seeds"),
    ],
)
def test_a_verdict_needs_seeds_and_an_interval_on_one_side(differences, bar, expected):
    assert claims.verdict(differences, bar) == expected


def test_seeds_are_paired_and_differences_are_shares_of_dense(tmp_path):
    study, folder = tmp_path / "study", tmp_path / "claims"
    study.mkdir()
    folder.mkdir()
    finals = {"dense": [100, 200, 300], "sparse": [110, 210, 310], "other": [1, 2, 3]}
    with open(study / "curves.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "seed", "step", "eval_return"])
        for variant, returns in finals.items():
            for seed, value in enumerate(returns):
                writer.writerow([variant, seed, 10, value])
    (folder / "claims.yaml").write_text(
        "- {claim: above, protocol: short, folder: study, ours: sparse, bar: 0, command: run.py}\n"
        "- {claim: elsewhere, command: other.py}\n"
    )
    (output,) = claims.outputs(folder)
    _, _, above, elsewhere = output.made().strip().splitlines()
    # 10 of 200 in each seed: luck has no part in it.
    assert "| 3 |" in above and "+5% ± 0% | met | `run.py` |" in above
    assert "open: not run | `other.py`" in elsewhere
