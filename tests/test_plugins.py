"""Agents and methods from outside of the package: from files, and from other packages."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from environments import OFTEN
from interruptions import StopAt, Stopped, outcome

import sparl
from sparl.agents import AGENTS
from sparl.cli import main
from sparl.config import options, spelling
from sparl.errors import BadValue
from sparl.methods import METHODS
from sparl.storage import RunFolder

HERE = Path(__file__).parent / "helpers" / "plugins"
ENV = "environments:Point-v0"
AGENT, METHOD = f"{HERE / 'toy_agent.py'}:ToyAgent", f"{HERE / 'toy_method.py'}:ToyMethod"
ToyAgent: Any = AGENTS.find(AGENT)
ToyMethod: Any = METHODS.find(METHOD)
TOY = ToyAgent(hidden=(16, 16), batch_size=8, learning_starts=40, toy_noise=0.25)
HALF = ToyMethod(toy_share=0.75)
WORDS = (
    f"{ENV} --agent {AGENT} --method {METHOD} --hidden 16 16 --batch-size 8 --learning-starts 40 "
    "--toy-noise 0.25 --toy-share 0.75 --steps 200 --eval-every 50 --eval-episodes 2 "
    "--checkpoint-every 40 --log-every 25 --quiet"
).split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the toy agent with the toy method, made in Python."""
    return sparl.train(ENV, TOY, HALF, out=tmp_path_factory.mktemp("toy") / "run", **OFTEN)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package: `installed(name, code, agents={"name": "module:Class"})`."""

    def forget() -> None:
        for registry in (AGENTS, METHODS):
            registry.__dict__.pop("_points", None)
        AGENTS._specs.pop(sparl.TD3, None)  # found while two packages had its name

    def install(name: str, code: str, **points: dict[str, str]) -> None:
        site = tmp_path / f"site-{name}"
        (site / f"{name}-1.0.dist-info").mkdir(parents=True)
        (site / f"{name}.py").write_text(code)
        lines = [
            line
            for kind, group in points.items()
            for line in (f"[sparl.{kind}]", *(f"{key} = {value}" for key, value in group.items()))
        ]
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        (site / f"{name}-1.0.dist-info" / "METADATA").write_text(metadata)
        (site / f"{name}-1.0.dist-info" / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, name, raising=False)
        forget()

    yield install
    forget()


def kept_shares(run: Path) -> list[float]:
    """Of each hidden layer behind a first one, the share of its weights that is stored."""
    layers = sparl.Run(run).policy.network.layers
    return [layer.kept / (layer.shape[0] * layer.shape[1]) for layer in layers[1:-1]]


def test_a_plug_in_agent_and_method_train_and_prune(trained):
    assert kept_shares(trained.folder) == [0.25]
    rows = (trained.folder / "restructures.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["120", "80"]]  # half of 160 updates


def test_a_plug_in_run_stopped_by_a_kill_resumes_bit_for_bit(trained, tmp_path, monkeypatch):
    """Before the method prunes, and from another working directory."""
    run = tmp_path / "run"
    with pytest.raises(Stopped):
        sparl.train(ENV, TOY, HALF, out=run, callbacks=[StopAt(checkpoint=2)], **OFTEN)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--resume", str(run), "--quiet"]) == 0
    assert outcome(run) == outcome(trained.folder)


def test_the_command_line_makes_the_same_plug_in_run(trained, tmp_path, monkeypatch):
    """Named by paths relative to where it is called."""
    monkeypatch.chdir(HERE)
    words = [word.replace(f"{HERE}/", "") for word in WORDS]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["agent"]["name"], config["method"]["name"]) == (AGENT, METHOD)
    assert config == json.loads((trained.folder / "config.json").read_text())
    assert outcome(tmp_path / "run") == outcome(trained.folder)


def test_a_plug_in_policy_is_exported_and_reported(trained, tmp_path):
    found = sparl.export(trained.folder, "c", tmp_path / "c", episodes=0)
    assert found["error"]["max"] < 1e-5
    assert found["layers"][1]["weights"] == 64  # a quarter of 16 x 16
    assert (tmp_path / "c" / "export.json").exists()
    page = trained.report(tmp_path / "report.html", video=False)
    assert "toy_agent.py:ToyAgent" in page.read_text()


def test_the_command_of_a_plug_in_run_parses_back_to_the_same_run(trained):
    run, agent, method, _ = RunFolder.open(trained.folder).read_config()
    words = spelling.command(run, agent, method)
    assert words[3:5] == ["--agent", AGENT]
    asked = options.parse(words[2:])
    assert (asked.run, asked.agent, asked.method) == (run, agent, method)
    assert type(asked.agent) is ToyAgent
    assert type(asked.method) is ToyMethod


def test_help_has_the_options_of_the_named_plug_ins_alone(capsys):
    def helped(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["train", *words, "--help"])
        return capsys.readouterr().out

    own = helped("--agent", AGENT, "--method", METHOD)
    assert "--toy-noise" in own
    assert "deviation of the toy's noise" in own
    assert "--toy-share" in own
    assert "--hidden-from-users" not in own
    assert "--toy" not in helped()


def test_an_agents_option_is_kept_where_a_method_has_an_internal_field_of_that_name():
    run, agent = sparl.RunConfig(ENV), ToyAgent(n=3)
    asked = options.parse(spelling.command(run, agent, sparl.RNM("1:4"))[2:])
    assert (asked.agent, asked.method) == (agent, sparl.RNM("1:4"))


TOY_COPY = (HERE / "toy_agent.py").read_text()


def test_another_packages_agent_is_found_by_its_name(installed, tmp_path, capsys):
    installed("toypackage", TOY_COPY, agents={"aaa-toy": "toypackage:ToyAgent"})
    assert AGENTS.names[:3] == ("td3", "sac", "crossq")
    assert AGENTS.names[-1] == "aaa-toy"  # behind sparl's own
    assert main(["list"]) == 0
    assert re.search("aaa-toy +A deterministic policy that climbs", capsys.readouterr().out)
    words = [word.replace(AGENT, "aaa-toy") for word in WORDS]
    words[words.index("200")] = "60"
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["agent"]["name"] == "aaa-toy"
    agent = RunFolder.open(tmp_path / "run").read_config().agent
    assert AGENTS.spec_of(type(agent)) == "aaa-toy"
    assert AGENTS.find("toypackage:ToyAgent") is type(agent)
    assert AGENTS.spec_of(type(agent)) == "aaa-toy"


def test_two_packages_with_one_name_are_refused_and_both_named(installed, capsys):
    installed("one", TOY_COPY, agents={"toy": "one:ToyAgent"})
    installed("two", TOY_COPY, agents={"toy": "two:ToyAgent", "td3": "two:ToyAgent"})
    for name, first in (("toy", "one (one:ToyAgent)"), ("td3", "sparl (sparl.agents.td3:TD3)")):
        with pytest.raises(BadValue, match=f"several packages have agent '{name}'") as refused:
            AGENTS.find(name)
        assert first in str(refused.value)
        assert "two (two:ToyAgent)" in str(refused.value)
    assert AGENTS.find("sac") is sparl.SAC
    assert AGENTS.spec_of(sparl.TD3) in ("td3", "sparl.agents.td3:TD3")
    assert main(["list"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "cannot be used: several packages have agent 'toy'" in listed


def test_a_broken_package_does_not_take_others_along(installed, tmp_path, capsys):
    installed("broken", "import nothing_of_that_name", agents={"bad": "broken:Bad"})
    installed("worse", "1 / 0", methods={"bad": "worse:Bad"})
    installed("hollow", "", methods={"hollow": "hollow:Gone"})
    assert main(["list"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "cannot be used: agent 'bad' of broken (broken:Bad) cannot be loaded:" in listed
    assert "No module named 'nothing_of_that_name'" in listed
    assert "ZeroDivisionError" in listed
    assert "has no attribute 'Gone'" in listed
    assert main(["train", "environments:Steps-v0", "--out", str(tmp_path / "run")]) == 1
    assert "What fits: dqn, ppo, primal_dual, actor_critic\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["prune", "--help"])
    assert "magnitude" in capsys.readouterr().out
    assert main(["train", ENV, "--agent", "bad", "--out", str(tmp_path / "run")]) == 1
    assert "agent 'bad' of broken" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_named_twice_gives_the_same_class(tmp_path, monkeypatch):
    monkeypatch.chdir(HERE)
    (tmp_path / "link.py").symlink_to(HERE / "toy_agent.py")
    for spec in ("toy_agent.py", "../plugins/toy_agent.py", str(tmp_path / "link.py")):
        assert AGENTS.find(f"{spec}:ToyAgent") is ToyAgent
    assert AGENTS.spec_of(ToyAgent) == AGENT


def test_two_files_of_one_name_are_two_modules(tmp_path):
    found = []
    for folder, share in (("a", "0.1"), ("b", "0.2")):
        (tmp_path / folder).mkdir()
        code = (HERE / "toy_method.py").read_text().replace("float = 0.5", f"float = {share}")
        (tmp_path / folder / "toy_method.py").write_text(code)
        found.append(METHODS.find(f"{tmp_path / folder / 'toy_method.py'}:ToyMethod"))
    assert [kind().toy_share for kind in found] == [0.1, 0.2]  # pyright: ignore
    assert METHODS.spec_of(found[1]) == f"{tmp_path / 'b' / 'toy_method.py'}:ToyMethod"
    assert ToyMethod().toy_share == 0.5


def test_a_class_of_a_script_beside_the_caller_is_found_from_elsewhere(tmp_path, monkeypatch):
    """`import mine` works where the script is; whoever resumes has other folders on sys.path."""
    shutil.copy(HERE / "toy_method.py", tmp_path / "mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    import mine  # pyright: ignore[reportMissingImports]

    assert METHODS.spec_of(mine.ToyMethod) == f"{tmp_path / 'mine.py'}:ToyMethod"
    assert METHODS.find(METHODS.spec_of(mine.ToyMethod)) is mine.ToyMethod
