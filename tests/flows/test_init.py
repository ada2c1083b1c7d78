"""A project that `db3 init` created in a folder which is no clone, run with the installed wheel alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from db3.digest import digest_bytes, digest_code
from db3.errors import ConfigError, Db3Error
from db3.extras import installed_version
from flows.compose import compose
from flows.engine.installed import check_code, code_digests, read_lock, template
from flows.init import COPIED, create, update
from tests.flows.test_repro import STAGES, Clone

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "from db3.cli import main; main()"


def build(kind: str, out: Path, source: Path = ROOT) -> Path:
    """A wheel or an sdist, made by the real back end; from uv's cache where that holds it."""
    found = [path for path in (Path(sys.executable).parent / "uv", shutil.which("uv")) if path and Path(path).is_file()]
    if not found:
        pytest.skip("needs uv to build the package: pip install uv")
    command = [str(found[0]), "build", f"--{kind}", "--out-dir", str(out), "--python", sys.executable, str(source)]
    for more in (["--offline"], []):
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return next(path for path in out.iterdir() if path.suffix in (".whl", ".gz"))
    raise AssertionError(done.stderr)


@dataclass(frozen=True)
class Installed:
    """A folder on the path that holds the unpacked wheel: what `pip install db3` leaves, without its dependencies."""

    site: Path

    def run(self, cwd: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DB3_", "GIT_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env=kept | {"PATH": path, "PYTHONPATH": str(self.site), "OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def db3(self, cwd: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.run(cwd, "-c", COMMAND, *arguments)

    def create(self, folder: Path) -> Path:
        done = self.db3(folder.parent, "init", folder.name, "--experiment", "smoke")
        assert (done.returncode, done.stderr) == (0, "")
        return folder

    def repro(self, cwd: Path) -> list[str]:
        """Run `dvc repro`; the stages that DVC really ran."""
        done = self.run(cwd, "-m", "dvc", "repro")
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"Running stage '(\w+)'", done.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as wheel:
        wheel.extractall(site)  # noqa: S202 - made just now
    return Installed(site)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    create(tmp_path / "project", ["experiment=smoke"])
    return tmp_path / "project"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def change_lock(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """As if an earlier version had written the project."""
    known = read_lock(folder / "db3.lock")
    change(known)
    (folder / "db3.lock").write_text(yaml.safe_dump(known), encoding="utf-8")


def test_the_wheel_holds_what_is_written_and_nothing_twice(installed: Installed, fresh: Path) -> None:
    held = files(installed.site / "flows" / "template")
    assert held == files(fresh) - {"params.yaml", "db3.lock"}
    assert {path for path in held if not path.startswith(COPIED)} == {"dvc.yaml", ".dvc/config"}
    tops = {path.name for path in installed.site.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"db3", "flows"}


def test_an_sdist_gives_the_same_wheel_and_holds_nothing_that_a_clone_keeps_to_itself(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    skipped = shutil.ignore_patterns(".git", ".venv", ".db3", ".prefect", "cache", "tmp", "__pycache__", "config.local")
    shutil.copytree(ROOT, clone, ignore=skipped)
    secrets = [
        ".dvc/config.local",
        ".dvc/cache/files/md5/00/11",
        ".dvc/tmp/lock",
        "data/teacher/teacher.json",
        ".db3/x",
    ]
    for name in secrets:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("secret", encoding="utf-8")
    with tarfile.open(build("sdist", tmp_path / "sdist", clone)) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        sdist.extractall(tmp_path / "unpacked", filter="data")
    assert not names & set(secrets)
    assert {name for name in names if name.startswith("data/")} == {"data/.gitignore"}
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    own, other = build("wheel", tmp_path / "own"), build("wheel", tmp_path / "other", unpacked)
    assert digest_bytes(own.read_bytes()) == digest_bytes(other.read_bytes())


def test_it_says_what_to_do_next_and_runs_from_the_package(installed: Installed, tmp_path: Path) -> None:
    done = installed.db3(tmp_path, "init", "new/project", "--experiment", "smoke", "distill.lr=0.5")
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert re.fullmatch(r"init: \d+ files written to new/project, for db3 [\d.]+; next:", told[0])
    assert [line.split("#")[0].strip() for line in told[1:3]] == ["cd new/project", "dvc repro"]
    folder = tmp_path / "new" / "project"
    assert (folder / "params.yaml").read_text() == compose(["experiment=smoke", "distill.lr=0.5"], ROOT / "conf")
    where = installed.run(folder, "-c", "import db3, flows; print(db3.__file__, flows.__file__)").stdout.split()
    assert [Path(path).parents[1] for path in where] == [installed.site, installed.site]
    assert installed.run(folder, "-m", "flows.compose", "experiment=smoke").stdout == (
        "params.yaml: distill.lr 0.5 -> 0.002\n"
    )


def test_the_installed_code_has_the_digests_of_the_clone(installed: Installed, tmp_path: Path) -> None:
    """Those that dvc.yaml's deps stand for, and those in the keys of shards."""
    code = (
        "import json; from db3.digest import digest_code; from flows.engine.installed import code_digests, template; "
    )
    told = installed.run(
        tmp_path, "-c", f"{code}print(json.dumps([digest_code('.'), code_digests(), str(template())]))"
    )
    assert json.loads(told.stdout) == [digest_code("."), code_digests(), str(installed.site / "flows" / "template")]
    assert template() == ROOT
    assert list(code_digests()) == STAGES
    assert len(set(code_digests().values())) == len(STAGES)


def test_the_stages_are_those_of_the_clone_but_for_their_code(fresh: Path) -> None:
    own, clone = (yaml.safe_load((folder / "dvc.yaml").read_text()) for folder in (fresh, ROOT))
    for name, stage in clone["stages"].items():
        stage["deps"] = [dep for dep in stage["deps"] if dep.startswith("data/")]
        stage["params"].append({"db3.lock": [f"code.{name}"]})
        if not stage["deps"]:
            del stage["deps"]
    assert own == clone


def test_dvc_is_told_whether_there_is_git(tmp_path: Path) -> None:
    create(tmp_path / "plain")
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    create(tmp_path / "repository" / "below")
    told = [(tmp_path / name / ".dvc" / "config").read_text() for name in ("plain", "repository/below")]
    assert ["no_scm = true" in text for text in told] == [True, False]
    assert all("analytics = false\ncheck_update = false\n" in text for text in told)


@pytest.mark.parametrize("name", ["params.yaml", ".dvc/config", "conf/query/bd.yaml", "db3.lock", ".gitignore"])
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path / name} is there already")):
        create(tmp_path)
    assert files(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "mine" / "conf").mkdir(parents=True)
    (tmp_path / "mine" / "data").write_text("no folder", encoding="utf-8")  # where data/.gitignore has to lie
    with pytest.raises((Db3Error, OSError)):
        create(tmp_path / "mine")
    assert files(tmp_path) == {"mine/data"}
    assert (tmp_path / "mine" / "conf").is_dir()


def test_hydra_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(ConfigError, match=r"composing parameters needs the package hydra.*db3\[pipeline\]"):
        create(tmp_path / "project")
    assert files(tmp_path) == set()


def test_other_files_and_a_broken_link_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"mine")
    (tmp_path / "prefect.yaml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"prefect\.yaml is there already"):
        create(tmp_path)
    (tmp_path / "prefect.yaml").unlink()
    create(tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["p", "--experiment", "smok"], 1, "error: unknown choice experiment=smok; did you mean experiment=smoke?\n"),
        (["p", "distill.lrr=1"], 1, "error: unknown parameter distill.lrr; did you mean distill.lr?\n"),
        ([], 2, "has to be a folder"),
        (["experiment=smoke"], 2, "has to be a folder"),
        (["p", "--update", "--experiment", "smoke"], 2, "takes no parameters"),
        (["p", "--update"], 1, "error: there is no folder p; `db3 init p` creates a project there\n"),
        ([".", "--update"], 1, "error: cannot read db3.lock: No such file or directory; run in the project's root\n"),
    ],
)
def test_a_mistake_is_told_and_writes_nothing(arguments: list[str], status: int, told: str, tmp_path: Path) -> None:
    done = Installed(ROOT).db3(tmp_path, "init", *arguments)
    assert done.returncode == status
    assert done.stderr == told if told.endswith("\n") else told in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "p").touch()
    done = Installed(ROOT).db3(tmp_path, "init", "p")
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*\bp\b.*\n", done.stderr)


def test_a_stage_refuses_other_code_than_the_projects(fresh: Path) -> None:
    def age(known: dict[str, Any]) -> None:
        known["code"]["soft_labels"], known["version"] = "0" * 64, "0.0.9"

    change_lock(fresh, age)
    done = Installed(ROOT).run(fresh, "-m", "flows.soft_labels")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: db3.lock says that soft_labels runs the code 000000000000 of db3 0.0.9, but "
        f"{code_digests()['soft_labels'][:12]} of db3 {installed_version()} is installed: `db3 init --update` takes "
        "the installed one, then `dvc repro` runs what has changed; or install the former version\n"
    )
    assert not (fresh / "data" / "transfer").exists()
    check_code("distill", fresh / "db3.lock")  # whose code is the same
    check_code("stage_of_ones_own", fresh / "db3.lock")
    update(fresh)
    check_code("soft_labels", fresh / "db3.lock")


@pytest.mark.parametrize("text", ["", "code: 1\n", "version: 0.1.0\n", "- 1\n"])
def test_a_damaged_lock_is_refused(text: str, fresh: Path) -> None:
    (fresh / "db3.lock").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not as `db3 init` wrote it"):
        check_code("samples", fresh / "db3.lock")


def test_an_update_replaces_what_was_left_as_it_was_and_names_the_rest(fresh: Path) -> None:
    left, mine, gone, new = "conf/query/bd.yaml", "conf/query/sd.yaml", "conf/query/mbd.yaml", "conf/query/none.yaml"
    current = {name: (fresh / name).read_bytes() for name in (left, new)}
    (fresh / left).write_bytes(b"# as an earlier version wrote it\n")
    (fresh / mine).write_bytes(b"# as its owner wants it\n")
    (fresh / gone).unlink()
    (fresh / new).unlink()

    def age(known: dict[str, Any]) -> None:
        known["files"] |= {left: digest_bytes((fresh / left).read_bytes()), mine: "0" * 64}
        del known["files"][new]
        known["code"]["report"] = "0" * 64

    change_lock(fresh, age)
    told = update(fresh)
    assert told[:3] == [
        f"replaced: {left}",
        f"new: {new}",
        f"kept, since you changed it: {mine}; this version's is {template() / mine}",
    ]
    assert re.fullmatch(r"other code than db3 .*'s, so run again: report", told[3])
    assert len(told) == 4
    assert {name: (fresh / name).read_bytes() for name in (left, new)} == current
    assert (fresh / mine).read_bytes() == b"# as its owner wants it\n"
    assert not (fresh / gone).exists()
    assert update(fresh) == []


def test_an_update_says_that_parameters_no_longer_fit(fresh: Path) -> None:
    params = fresh / "params.yaml"
    params.write_text(params.read_text().replace("  lr: 0.002\n", ""), encoding="utf-8")
    (told,) = update(fresh)
    assert told.startswith("compose the parameters anew, `python -m flows.compose ...`: params.yaml: ")


def test_a_project_that_came_under_git_is_told_so_by_an_update(fresh: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=fresh, check=True)
    assert update(fresh) == ["replaced: .dvc/config"]
    assert "no_scm" not in (fresh / ".dvc" / "config").read_text()


def test_a_missing_package_of_the_pipeline_is_one_line(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ruamel.yaml'] = None\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = Installed(ROOT).run(fresh, "-m", "flows.samples", PYTHONPATH=path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the pipeline needs the package ruamel, which is not installed: pip install 'db3[pipeline]'\n"
    )


@pytest.fixture(scope="module")
def project(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without git, after its first run."""
    folder = installed.create(tmp_path_factory.mktemp("elsewhere") / "project")
    assert installed.repro(folder) == STAGES
    return folder


def transfer(folder: Path) -> str:
    return str(json.loads((folder / "data" / "transfer" / "manifest.json").read_text())["digest"])


@pytest.mark.slow
def test_without_git_it_runs_once_and_proves_its_transfer_set(installed: Installed, project: Path) -> None:
    assert installed.repro(project) == []
    for proof in (["-m", "flows.verify"], ["-c", COMMAND, "verify"]):
        done = installed.run(project, *proof)
        assert (done.returncode, done.stdout) == (0, f"verify: {transfer(project)}\n"), done.stderr
    metrics = installed.run(project, "-m", "dvc", "metrics", "show")
    assert transfer(project)[:12] in metrics.stdout


@pytest.mark.slow
def test_the_transfer_set_is_that_of_a_clone(project: Path, tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    done = clone.run("-m", "dvc", "repro", "soft_labels")
    assert done.returncode == 0, done.stderr
    assert transfer(project) == transfer(clone.folder)


@pytest.mark.slow
def test_an_upgrade_reruns_the_stages_whose_code_it_changes(
    installed: Installed, project: Path, tmp_path: Path
) -> None:
    upgraded = Installed(Path(shutil.copytree(installed.site, tmp_path / "site")))
    with (upgraded.site / "db3" / "report" / "build.py").open("a", encoding="utf-8") as file:
        file.write("# another version\n")
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    assert upgraded.repro(folder) == []  # nothing is run before its owner takes the new code
    refused = upgraded.run(folder, "-m", "flows.report")
    assert (refused.returncode, refused.stderr[:40]) == (1, "error: db3.lock says that report runs the code"[:40])
    told = upgraded.db3(folder, "init", "--update").stdout
    assert "so run again: report\n" in told
    assert upgraded.repro(folder) == ["report"]


@pytest.mark.slow
def test_with_git_an_experiment_is_composed_and_run(installed: Installed, project: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "project"))
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    assert "replaced: .dvc/config" in installed.db3(folder, "init", "--update").stdout
    for command in (["add", "--all"], ["commit", "-q", "-m", "begin"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    tracked = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True).stdout.split()
    assert set(tracked) == {
        name for name in files(folder) if not name.startswith((".git/", ".db3/", ".dvc/", "data/"))
    } | {
        *(".dvc/.gitignore", ".dvc/config", "data/.gitignore"),
        *(name for name in files(folder) if name.startswith(".dvc/plots/")),
    }
    assert installed.repro(folder) == []
    choices = ["-S", "experiment=smoke", "-S", "distill.lr=0.001"]
    done = installed.run(folder, "-m", "dvc", "exp", "run", *choices, GIT_AUTHOR_NAME="t", GIT_COMMITTER_NAME="t",
                         GIT_AUTHOR_EMAIL="t@localhost", GIT_COMMITTER_EMAIL="t@localhost")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == ["distill", "evaluate", "report"]
    shown = installed.run(folder, "-m", "dvc", "exp", "show", "--json")
    assert "db3.lock" in shown.stdout
