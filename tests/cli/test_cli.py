"""The command line as a person, and as a script, uses it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import environments
import pytest
from environments import TINY

import sparl
from sparl.cli import main
from sparl.config import options, presets
from sparl.config.run import RECORDED

ENV = "environments:Point-v0"
NETWORKS = [
    f"{target}{name}" for target in ("", "target_") for name in ("actor", "critic_0", "critic_1")
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that the command line made."""
    out = tmp_path_factory.mktemp("cli") / "run"
    arguments = f"train {ENV} --method rnm --pattern 1:4 --interval 15 --steps 100 --seed 7"
    arguments += " --hidden 16 16 --batch-size 8 --learning-starts 20 --eval-every 50"
    arguments += " --eval-episodes 2 --checkpoint-every 40 --policy-delay 3 --no-keep-norm"
    assert main([*arguments.split(), "--out", str(out)]) == 0
    return out


def test_options_reach_the_config(run):
    config = json.loads((run / "config.json").read_text())
    assert config["run"]["env"] == ENV
    assert (config["run"]["steps"], config["run"]["seed"]) == (100, 7)
    assert config["agent"]["name"] == "td3"
    assert config["agent"]["hidden"] == [16, 16]
    assert config["agent"]["policy_delay"] == 3
    assert config["method"]["name"] == "rnm"
    assert config["method"]["pattern"] == "1:4"
    assert config["method"]["keep_norm"] is False
    assert config["versions"]["sparl"] == sparl.__version__


def test_help_of_everything_is_readable(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in ("train", "eval", "inspect", "compare", "list"):
        assert f"sparl {command}" in overview
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert f"usage: sparl {command}" in capsys.readouterr().out


def test_help_of_train_has_the_options_of_the_chosen_method_alone(capsys):
    def options(*arguments):
        with pytest.raises(SystemExit):
            main(["train", *arguments, "--help"])
        return capsys.readouterr().out

    dense, rnm = options(), options("--method", "rnm")
    assert "--learning-starts" in dense
    assert "--pattern" not in dense
    assert "--interval" not in dense
    assert "--pattern" in rnm
    assert "--interval" in rnm
    assert "--td3." not in rnm  # flat: no prefixes


def test_help_shows_the_main_options_and_help_all_every_one(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def shown(word):
        with pytest.raises(SystemExit):
            main(["train", "--method", "rnm", word])
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        return set(re.findall(r"--[a-z][a-z0-9-]+", text)), text

    (few, text), (every, _) = shown("--help"), shown("--help-all")
    assert len(few) < 40 and few < every
    assert {"--steps", "--learning-rate", "--pattern", "--interval"} <= few
    for name in options.parse(["Pendulum-v1", "--method", "rnm"]).run.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in every or name in ("env", *RECORDED)
    assert "evaluation options" in text and "Steps between two evaluations." in text
    assert main(["--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_shell_completes_commands_options_and_values(capsys):
    assert main(["completion"]) == 0
    tries = (
        "sparl trai",
        "sparl train E --agent dq",
        "sparl export r --dtype i",
        "sparl eval r --vi",
    )
    typed = [
        f"COMP_WORDS=({words}) COMP_CWORD={len(words.split()) - 1}; _sparl; echo ${{COMPREPLY[*]}}"
        for words in tries
    ]
    script = "\n".join([capsys.readouterr().out, *typed])
    completed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert completed.stdout.split() == ["train", "dqn", "int8", "--video"]


def test_unknown_commands_and_agents_are_refused_with_what_there_is(capsys):
    assert main(["trane"]) == 2
    assert "no command 'trane'. Did you mean sparl train?" in capsys.readouterr().err
    assert main(["resume", "runs/mine"]) == 2
    assert "Did you mean sparl train --resume DIR?" in capsys.readouterr().err
    assert main(["train", ENV, "--agent", "sarsa"]) == 1
    assert "agent is 'sarsa': choose of td3, sac, crossq, xqc, dqn" in capsys.readouterr().err


def test_inspect_json_has_every_layer_of_all_six_networks(run, capsys):
    assert main(["inspect", str(run), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sorted(report["networks"]) == sorted(NETWORKS)
    for network in report["networks"].values():
        layers = network["layers"]
        assert [layer["name"] for layer in layers] == ["hidden_0", "hidden_1", "head"]
        assert [layer["layout"] for layer in layers] == ["dense", "row-sparse", "dense"]
        assert [layer["pattern"] for layer in layers] == [None, "1:4", None]
        assert [layer["max_per_group"] for layer in layers] == [None, 1, None]
        assert layers[1]["shape"] == [16, 16]
        assert layers[1]["kept"] == 16 * 4
        # Four bytes a value and one for its column, and the biases.
        assert layers[1]["bytes"] == 5 * 64 + 4 * 16
        assert network["weights_kept"] == sum(layer["kept"] for layer in layers)
        assert network["weights_total"] == sum(a * b for a, b in (la["shape"] for la in layers))
        assert network["macs"] == sum(layer["macs"] for layer in layers)
        assert network["bytes"] == sum(layer["bytes"] for layer in layers)
    kept = sum(network["weights_kept"] for network in report["networks"].values())
    total = sum(network["weights_total"] for network in report["networks"].values())
    assert report["compression_ratio"] == pytest.approx(1 - kept / total)
    assert report["average_compression_ratio"] == pytest.approx(1 - kept / total)


def test_inspect_shows_a_table(run, capsys):
    assert main(["inspect", str(run)]) == 0
    told = capsys.readouterr().out
    for word in (*NETWORKS, "row-sparse", "1:4", "16 x 16", "compression ratio"):
        assert word in told


@pytest.mark.parametrize("width", [50, 80, 120])
def test_inspect_cuts_nothing_in_a_narrow_terminal(run, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["inspect", str(run)]) == 0
    told = capsys.readouterr().out
    assert "…" not in told and max(map(len, told.splitlines())) <= width
    assert ("left out, because the terminal is narrow: " in told) == (width < 80)
    assert "16 x 16" in told and "kept" in told


def test_inspect_of_a_policy_folder_shows_the_policy(run, capsys):
    assert main(["inspect", str(run / "policy"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["networks"]) == ["policy"]


def test_eval_gives_the_returns_of_the_runs_own_evaluation(run, capsys):
    arguments = ["eval", str(run), "--episodes", "2", "--seed", "7", "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((run / "summary.json").read_text())
    assert found["mean_return"] == pytest.approx(summary["evals"][-1]["return"], rel=1e-6)
    assert found["lengths"] == [20, 20]
    assert main(["eval", str(run)]) == 0
    assert "over 10 episodes of 20 steps" in capsys.readouterr().out


def test_eval_films_an_episode(run, tmp_path, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "SDL_VIDEODRIVER"):
        monkeypatch.setenv(name, "")  # so that it is as it was in the end, whatever sets it
        monkeypatch.delenv(name)
    told, made = [], environments.Point.__init__

    def noted(self, *args, **options):
        told.append(tuple(map(os.environ.get, ("MUJOCO_GL", "SDL_VIDEODRIVER"))))
        made(self, *args, **options)

    monkeypatch.setattr(environments.Point, "__init__", noted)
    film = tmp_path / "film.gif"
    assert main(["eval", str(run), "--episodes", "1", "--video", str(film)]) == 0
    assert film.read_bytes()[:4] == b"GIF8"
    # They look at it when they are imported, which is when the first environment is made.
    assert set(told) == {("egl", "dummy") if sys.platform == "linux" else (None, None)}
    assert main(["eval", str(run), "--video", str(tmp_path / "film.doc")]) == 1
    assert "a video is a .gif or an .mp4" in capsys.readouterr().err


def test_list_names_all_there_is(capsys):
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    for word in ("td3", "dense", "rnm", "row-sparse", "straight-through", "kernels:"):
        assert word in told
    words = told.split()
    assert all(name in words for name in presets.names()), "a long name runs into its text"


def test_resume_from_the_command_line(run, capsys):
    assert main(["train", "--resume", str(run), "--steps", "120", "--quiet"]) == 0
    assert json.loads((run / "summary.json").read_text())["steps"] == 120
    assert main(["train", "--resume", str(run / "nowhere")]) == 1
    assert "no run folder" in capsys.readouterr().err


def test_python_m_sparl_tells_plain_lines_and_errors_without_traceback(tmp_path):
    def sparl_command(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "sparl", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "helpers")},
        )

    options = f"--steps 60 --hidden {TINY.hidden[0]} --learning-starts 20 --eval-every 30"
    told = sparl_command("train", ENV, *options.split())
    assert told.returncode == 0, told.stderr
    lines = [line for line in told.stderr.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["30/60", "60/60"]
    assert all("eval" in line and "best" in line for line in lines)
    assert "\x1b" not in told.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("environments-Point-v0-dense-0-")

    failed = sparl_command("train", "Pendulum-v999")
    assert failed.returncode == 1
    assert failed.stderr.startswith("sparl: no environment 'Pendulum-v999'")
    assert "Traceback" not in failed.stderr
