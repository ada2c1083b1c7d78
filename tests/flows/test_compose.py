"""Composition: Hydra's bytes, one line for every mistake, and params.yaml never half-way."""

from pathlib import Path

import pytest
import yaml

from db3.errors import ConfigError
from flows.compose import compose, write_params
from flows.config import Config, parse_config
from tests.flows.conftest import Project

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(compose(overrides, CONF)))


def test_the_committed_parameters_are_the_default_experiment() -> None:
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == compose(conf=CONF)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_valid(experiment: str) -> None:
    assert (composed(f"experiment={experiment}") == composed()) is (experiment == "digits")  # the default


@pytest.mark.parametrize(
    "path", ["/my pics", "~/été (2)/x", "/a,b", "/a=b", "it's", 'a "b"', "/a{b}", "a'b\\", "C:\\me\\", "[x", "#1"]
)
def test_a_path_needs_no_quotes_of_hydras(path: str) -> None:
    assert composed(f"runtime.data_root={path}").runtime.data_root == path


def test_what_is_no_list_is_refused_in_one_line() -> None:
    for value, shown in (("[48,", r"'\[48,'"), ("48,192", "'48,192'"), ("[48,4]", r"\[48, 4\]")):
        with pytest.raises(ConfigError, match=rf"dataset.size is {shown}; expected a whole number .* or a list of 2"):
            composed(f"dataset.size={value}")
    assert composed("dataset.size=[48,192]").dataset.size == (48, 192)


# Teachers of one's own, and what only their owner knows.
OWN = {
    "checkpoint": ["teacher.checkpoint=a.safetensors"],
    "exported": ["teacher.checkpoint=a.pt2"],
    "onnx": ["teacher.checkpoint=a.onnx"],
    "http": ["teacher.http.url=https://models.example.org", "teacher.http.model=lenet"],
    "http_image": ["teacher.http.url=https://vision.example.org/classify", "teacher.http.answer='predictions[0]'"],
    "callable": ["teacher.function='package.module:function'"],
    "process": ["teacher.command=[./classify]"],
}
# Servers that people have, each by a kind above.
PRESETS = {
    "bentoml": ["teacher.http.url=http://127.0.0.1:3000/classify"],
    "huggingface": ["teacher.http.url=https://endpoint.example.org"],
    "kserve": OWN["http"],
    "litserve": ["teacher.http.url=http://127.0.0.1:8000/predict"],
    "mlflow": ["teacher.http.url=http://127.0.0.1:5000/invocations"],
    "openai": ["teacher.http.url=http://127.0.0.1:8000/v1/chat/completions", "teacher.http.model=m"],
    "predict": ["teacher.http.url=http://127.0.0.1:8080/v1/models/m:predict"],
    "sagemaker": ["teacher.http.url=https://runtime.sagemaker.eu-central-1.amazonaws.com/endpoints/m/invocations"],
}


@pytest.mark.parametrize(
    "choice",
    [
        f"{path.parent.name}={path.stem}"
        for path in sorted(CONF.glob("*/*.yaml"))
        if path.parent.name != "teacher" or path.stem not in OWN | PRESETS
    ],
)
def test_every_file_of_every_group_is_valid(choice: str) -> None:
    assert composed(choice)


@pytest.mark.parametrize("kind", OWN)
def test_a_teacher_of_ones_own_needs_only_what_its_owner_knows(kind: str) -> None:
    assert composed(f"teacher={kind}", *OWN[kind]).teacher.kind == kind
    for given in OWN[kind]:
        name = given.partition("=")[0]
        with pytest.raises(ConfigError, match=rf"\b{name.rpartition('.')[2]}\b.*") as caught:
            composed(f"teacher={kind}", *(other for other in OWN[kind] if other != given))
        assert name in str(caught.value)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_needs_only_an_address_and_a_model_where_there_are_several(preset: str) -> None:
    found = composed(f"teacher={preset}", *PRESETS[preset]).teacher
    assert found.kind == ("http" if preset == "kserve" else "http_image")
    with pytest.raises(ConfigError, match=r"http\.url has no value"):
        composed(f"teacher={preset}", *(given for given in PRESETS[preset] if ".url=" not in given))


def test_a_command_line_override_wins_over_the_experiment() -> None:
    assert composed("distill.steps=7", "experiment=smoke").distill.steps == 7


def test_the_papers_experiment_is_the_papers() -> None:
    config = composed("experiment=paper_mnist")
    assert (config.query.method, config.soft_labels.mapping) == ("mbd", "inverse")
    assert (config.soft_labels.temperature, config.distill.temperature, config.distill.batch) == (20.0, 20.0, 512)
    assert (config.distill.weights.ce, config.distill.weights.kl) == (1.0, 1.0)


def test_mnist_small_asks_at_most_150_queries_a_sample() -> None:
    config = composed("experiment=mnist_small")
    assert (config.dataset.name, config.samples.count, config.query.method) == ("mnist", 1000, "auto")
    searched = config.query.surrogate.synthetic_queries + 9 * config.query.budget
    assert 100 <= 1 + searched / (1 - config.query.variations) <= 150


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name.endswith("_small")])
def test_a_small_experiment_is_the_whole_one_with_fewer_images(name: str) -> None:
    whole, small = composed(f"experiment={name.removesuffix('_small')}"), composed(f"experiment={name}")
    assert (small.dataset.name, small.query.method) == (whole.dataset.name, whole.query.method)
    assert (small.samples.method, small.soft_labels) == (whole.samples.method, whole.soft_labels)
    assert (small.samples.count or small.samples.budget or 0) <= 10_000
    if whole.samples.method == "real":
        assert small.samples.count is not None
        assert small.samples.count < (whole.samples.count or 2040)
    assert small.distill.steps != "auto"
    assert small.distill.steps <= 3000


@pytest.mark.parametrize(
    ("dataset", "pair"),
    [
        ("mnist", ("lenet5", "lenet5_half")),
        ("fashion_mnist", ("lenet5", "lenet5_half")),
        ("cifar10", ("alexnet", "alexnet_half")),
        ("flowers102", ("resnet34", "resnet18")),
    ],
)
def test_the_papers_rows_have_its_networks_and_searches(dataset: str, pair: tuple[str, str]) -> None:
    for search in ("sd", "bd", "mbd"):
        config = composed(f"experiment={dataset}_{search}")
        assert (config.dataset.name, config.query.method) == (dataset, search)
        assert (config.teacher.architecture, config.distill.architecture) == pair
        assert {"hard", "smoothing", "inverse", "margin"} <= set(config.distill.baselines)
        # What asks nothing has no number of queries that augmented images could cost likewise.
        assert ("augmented" in config.distill.baselines) is (config.query.asked > 0)
    quarter = composed("experiment=cifar10_bd", "distill=alexnet_quarter")
    assert quarter.distill.architecture == "alexnet_quarter"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("experiment=mnist_smal", "did you mean experiment=mnist_small?"),
        ("dataset=mnst", "did you mean dataset=mnist?"),
        ("datset=mnist", "did you mean dataset?"),
        ("distill.lrr=1", "did you mean distill.lr?"),
        ("+distill.lrr=1", "did you mean distill.lr?"),
        ("qqqqqq=1", "they all stand in a group: budget, dataset, distill"),
        ("dataset=zzzzz", "known here: cifar10, cifar100, digits"),
        ("distill=null", "known here: alexnet_half"),
        ("distill.lr=fast", "distill.lr is 'fast'"),
        ("distill.lr=-1", "distill.lr is -1"),
        ("distill.lr=[1", "distill.lr is '[1'; expected a number above 0"),
        ("distill.lr", "expected NAME=VALUE"),
        ("~distil", "cannot compose"),
        ("~distill.lr", "distill.lr is missing"),
        ("teacher=checkpoint", "teacher.checkpoint has no value"),
        ("distill.lr=${distill.nothing}", "cannot compose"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_the_parameters_alone(
    override: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(conf=CONF)
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ConfigError) as caught:
        write_params([override], CONF)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Path("params.yaml").read_bytes() == before


def test_the_changes_are_told(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    assert write_params([], CONF, params) == f"{params}: written"
    assert write_params([], CONF, params) == f"{params}: no change"
    assert write_params(["distill.lr=0.5"], CONF, params) == f"{params}: distill.lr 0.002 -> 0.5"


def test_a_folder_without_groups_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml; run in the project's root"):
        compose(conf=tmp_path)


def test_dvc_composes_the_same_bytes(dvc_project: Project) -> None:
    """`dvc exp run -S` and `python -m flows.compose` are two ways to one file."""
    chosen = ["experiment=mnist_small", "distill.lr=0.004", "query.checkpoints=[3,7]"]
    settings = [argument for choice in chosen for argument in ("--set-param", choice)]
    (dvc_project.folder / "dvc.yaml").write_text(
        "stages:\n  stub:\n    cmd: cp params.yaml data/seen.yaml\n    params: [query]\n    outs: [data/seen.yaml]\n"
    )
    ran = dvc_project.python("-m", "dvc", "exp", "run", *settings)
    assert ran.returncode == 0, ran.stderr
    by_dvc = (dvc_project.folder / "params.yaml").read_bytes()
    assert (dvc_project.folder / "data/seen.yaml").read_bytes() == by_dvc
    own = dvc_project.python("-m", "flows.compose")
    assert own.returncode == 0, own.stderr
    assert (dvc_project.folder / "params.yaml").read_bytes() != by_dvc
    dvc_project.python("-m", "flows.compose", *chosen)
    assert (dvc_project.folder / "params.yaml").read_bytes() == by_dvc
