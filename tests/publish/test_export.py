"""The exported folder is the transfer set: its digest says so, and other people's tools read the same from it."""

import json
from pathlib import Path

import numpy as np
import pytest

import db3
from db3.cli import COMMANDS
from db3.errors import ConfigError, DataError
from db3.publish.command import export_main
from db3.publish.export import check_export, export_transfer
from db3.publish.parquet import encode


@pytest.fixture(scope="module")
def folder(run: "db3.Result", tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "set"
    assert export_transfer(run.folder, folder, "cc-by-4.0") == run.digest
    return folder


def test_the_digest_is_computed_anew_from_the_files(run: "db3.Result", folder: Path) -> None:
    assert check_export(folder) == run.digest
    told = json.loads((folder / "transfer.json").read_text())
    assert told["digest"] == run.digest
    assert set(told["configs"]) == {"samples", "boundary_points", "queried_images"}


def test_pandas_reads_it(run: "db3.Result", folder: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.read_parquet(folder / "samples.parquet")
    assert frame["decision"].tolist() == run.transfer.decisions.tolist()
    assert np.array_equal(np.stack(frame["soft_label"]), run.transfer.soft_labels)
    assert frame["image"][0]["bytes"] == encode(run.transfer.images[0])


def test_datasets_reads_it(run: "db3.Result", folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    transfer = run.transfer
    assert transfer.queried_images is not None
    assert transfer.boundary_points is not None
    assert datasets.get_dataset_config_names(str(folder)) == ["samples", "boundary_points", "queried_images"]
    loaded = {
        name: datasets.load_dataset(str(folder), name, split="train", cache_dir=str(tmp_path))
        for name in ("samples", "boundary_points", "queried_images")
    }
    samples = loaded["samples"]
    assert samples.features["decision"].names == ["a", "b|c", "d", "é"]
    assert np.array_equal(np.stack([np.asarray(row["image"]) for row in samples]), transfer.images[:, 0])
    assert samples["decision"][:] == transfer.decisions.tolist()
    points, asked = loaded["boundary_points"], loaded["queried_images"]
    assert np.array_equal(np.stack([points["sample"][:], points["other_class"][:]], 1), transfer.boundary_points.pairs)
    keys, partners = transfer.queried_images.keys, transfer.queried_images.partners
    assert partners is not None
    assert 0 < (partners >= 0).sum() < len(partners)
    assert asked["place"][:] == keys[:, 2].tolist()
    assert asked["other_class"][:] == [None if k < 0 else k for k in keys[:, 1].tolist()]
    assert asked["other_sample"][:] == [None if other < 0 else other for other in partners.tolist()]
    assert len(datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path))) == len(transfer.images)


def test_the_card_has_a_header_that_the_hub_reads(run: "db3.Result", folder: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    card = hub.DatasetCard.load(folder / "README.md")
    assert (card.data.license, card.data.task_categories) == ("cc-by-4.0", ["image-classification"])
    assert [each["config_name"] for each in card.data.configs] == ["samples", "boundary_points", "queried_images"]
    assert run.digest in card.text
    assert "1: `b|c`" in card.text


@pytest.mark.filterwarnings("ignore")
def test_croissant_is_valid_and_its_records_are_the_set(run: "db3.Result", folder: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs mlcroissant")
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not dataset.metadata.issues.errors
    rows = list(dataset.records("samples"))
    assert [row["samples/decision"] for row in rows] == run.transfer.decisions.tolist()
    assert np.array_equal(np.asarray(rows[0]["samples/image"]), run.transfer.images[0, 0])
    assert np.array_equal(np.asarray(rows[0]["samples/soft_label"], np.float32), run.transfer.soft_labels[0])


def test_an_exchanged_file_is_told(run: "db3.Result", folder: Path, tmp_path: Path) -> None:
    import shutil

    import pyarrow.parquet as pq

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    table = pq.read_table(copy / "samples.parquet")
    place = table.schema.get_field_index("decision")
    changed = table["decision"].to_numpy().copy()
    changed[0] = (changed[0] + 1) % 4
    pq.write_table(table.set_column(place, table.schema.field(place), [changed]), copy / "samples.parquet")
    with pytest.raises(DataError, match=r"copy has the digest .* transfer.json tells of"):
        check_export(copy)
    (copy / "samples.parquet").write_bytes((folder / "samples.parquet").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"samples.parquet is not a whole file of `db3 export`"):
        check_export(copy)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_loses_nothing(channels: int) -> None:
    import io

    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    read = np.asarray(Image.open(io.BytesIO(encode(image))))
    assert np.array_equal(read[None] if channels == 1 else read.transpose(2, 0, 1), image)
    with pytest.raises(ConfigError, match="images have 2 channels; expected 1, 3 or 4"):
        encode(image[:1].repeat(2, axis=0))


def test_the_command(run: "db3.Result", tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "export" in COMMANDS
    to = tmp_path / "set"
    assert export_main([str(run.folder), "--to", str(to)]) == 0
    assert export_main([str(run.folder), "--to", str(to)]) == 0  # again, in its place
    assert export_main([str(run.folder), "--check", str(to)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{run.digest}  {to}"] * 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for arguments, told in (
        (["--to", str(to)], "no run is named"),
        ([str(tmp_path), "--to", str(to)], "there is no transfer set in"),
        ([str(run.folder)], "expected either RUN --to FOLDER, or --check FOLDER"),
        ([str(run.folder), "--to", str(tmp_path / "mine")], "holds something else than an export"),
        ([str(run.folder), "--to", str(tmp_path / "mine" / "notes.txt" / "set")], "set: Not a directory; name another"),
        (["--check", str(tmp_path / "mine")], "mine holds no export, since transfer.json is missing"),
        (["--check", str(tmp_path / "nowhere")], "nowhere holds no export"),
    ):
        assert export_main(arguments) == 1
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
