"""Tables in the documentation that quote results say what the results say, wherever they stand."""

import csv
import json
import re
from itertools import product
from pathlib import Path

from figures import RESULTS

ROOT = RESULTS.parent
FRONT = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
"""Where a reader meets results first."""
CONTENDERS = {"Stable-Baselines3": "sb3", "SBX": "sbx"}

Table = list[dict[str, str]]


def quoted(path: Path) -> list[Table]:
    """The tables of a Markdown file: rows by column, numbers without separators of thousands."""
    found: list[Table] = []
    header: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [_plain(cell) for cell in re.findall(r"\|([^|]*)(?=\|)", line.strip())]
        if not cells:
            header = []
        elif not header:
            header = cells
            found.append([])
        elif set("".join(cells)) - set("-: "):
            found[-1].append(dict(zip(header, cells, strict=False)))
    return found


def _plain(cell: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", cell.strip(" *`"))


def returns_in(path: Path) -> list[Table]:
    """The tables of final returns by variant."""
    return [t for t in quoted(path) if t and {"variant", "final return of each seed"} <= {*t[0]}]


def agrees(quote: Table, table: Table) -> bool:
    """Whether every filled cell of a quote is that of the table, in the columns that both have."""
    rows = {row["variant"]: row for row in table}
    return all(
        value == rows[row["variant"]][column]
        for row in quote
        for column, value in row.items()
        if value and column in rows[row["variant"]]
    )


def of(quote: Table, table: Table) -> bool:
    """Whether all the variants of a quote are in the table."""
    return {row["variant"] for row in quote} <= {row["variant"] for row in table}


STUDIES = {
    path: returns_in(path)[0] for path in sorted(RESULTS.glob("**/table.md")) if returns_in(path)
}
PATTERNS = STUDIES[RESULTS / "rnm_td3" / "patterns" / "table.md"]


def test_quoted_returns_are_those_of_a_study():
    for path in (*FRONT, RESULTS / "README.md"):
        for quote in returns_in(path):
            tables = [table for table in STUDIES.values() if of(quote, table)]
            names = [row["variant"] for row in quote]
            assert not tables or any(agrees(quote, t) for t in tables), f"{path.name}: {names}"


def test_the_front_page_or_the_documentation_quotes_all_patterns():
    quotes = [q for path in FRONT for q in returns_in(path) if of(q, PATTERNS) and of(PATTERNS, q)]
    assert quotes, "no Markdown table has the variants of results/rnm_td3/patterns/table.md"
    assert all(agrees(quote, PATTERNS) for quote in quotes)


def test_the_front_page_says_by_the_clock_what_was_measured():
    measured = {
        (row["task"].partition("-")[0], row["who"]): row
        for row in quoted(RESULTS / "presets" / "by_clock.md")[0]
    }
    (quote,) = [t for t in quoted(ROOT / "README.md") if t and "Ant: 5 min" in t[0]]
    assert {who for _, who in measured} == {_plain(row[""].replace("*", "")) for row in quote}
    for row, task in product(quote, ("Ant", "Humanoid")):
        of_it = measured.get((task, row[""].replace("*", "")), {})
        assert row[f"{task}-v5: steps/s"] == of_it.get("steps/s", "")
        for minutes in ("5 min", "10 min"):
            assert row[f"{task}: {minutes}"] == of_it.get(minutes, "")


def test_the_front_page_says_of_whole_training_what_was_measured():
    measured = json.loads((RESULTS / "speed" / "train_halfcheetah_256.json").read_text())["rows"]
    (quote,) = [t for t in quoted(ROOT / "README.md") if t and "SBX" in t[0]]
    names = [CONTENDERS.get(name, name.removeprefix("sparl, ")) for name in quote[0]]
    speeds = [f"{row['steps_per_second']:.0f}" for row in measured]
    assert dict(zip(names, quote[0].values(), strict=True)) == dict(
        zip([row["name"] for row in measured], speeds, strict=True)
    )


def test_the_front_page_says_of_the_go1_what_was_measured():
    column, minutes = "minutes of a core, each seed", "core minutes to the gate"
    (quote,) = [t for t in quoted(ROOT / "README.md") if t and column in t[0]]
    measured = {
        (race, row["who"]): row[minutes]
        for race in ("race", "any")
        for row in quoted(RESULTS / "go1" / f"{race}.md")[0]
    }
    whose = [
        *(("race", "sparl, dense critics"), ("race", "sparl, critics at 1:8")),
        ("race", "sparl, *tiny* critics"),
        *(("race", "SBX CrossQ"), ("race", "Stable-Baselines3 SAC")),
        *(("any", "2x32, dense"), ("any", "Stable-Baselines3, 2x32")),
    ]
    assert [row[column] for row in quote] == [measured[who] for who in whose]


def test_quoted_differences_between_processors_are_measured_ones():
    """Of each type on each processor, the largest; "same bits" where no bit differs."""
    with open(RESULTS / "device" / "targets.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["self_test"] for row in rows} == {"passed"}
    (quote,) = [t for t in quoted(ROOT / "docs" / "results" / "device.md") if "processor" in t[0]]
    for target, row in zip(dict.fromkeys(row["target"] for row in rows), quote, strict=True):
        for dtype in ("float32", "float16", "int8"):
            found = [r for r in rows if (r["target"], r["dtype"]) == (target, dtype)]
            same = all(r["same_bits"] == "1" for r in found)
            largest = max(float(r["difference"]) for r in found)
            assert row[dtype] == ("same bits" if same else f"{largest:.0e}"), target


def test_a_changed_figure_is_found(tmp_path):
    text = (RESULTS / "rnm_td3" / "patterns" / "table.md").read_text()
    page = tmp_path / "page.md"
    page.write_text(f"Somewhere else:\n\n{text}\nThe end.\n")
    (quote,) = returns_in(page)
    assert len(quote) == len(PATTERNS) and agrees(quote, PATTERNS)
    final = PATTERNS[0]["final return of each seed"]
    page.write_text(page.read_text().replace(final, final[::-1]))
    assert not agrees(returns_in(page)[0], PATTERNS)
