"""The files below data/ that are no JSON: what each holds. docs/pipeline.md is written from this list, and a test holds
it against the files of real runs.

N = samples, K = classes, C × H × W = one image.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Array:
    """A .npy file, C order.

    Attributes:
        path: below data/.
        dtype: of its values.
        shape: its axes; the same letter is the same number in all files of its folder.
        meaning: in words.
    """

    path: str
    dtype: str
    shape: tuple[str | int, ...]
    meaning: str


@dataclass(frozen=True)
class Table:
    """A CSV file with a header.

    Attributes:
        path: below data/.
        columns: in order.
        meaning: in words.
    """

    path: str
    columns: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Other:
    """Any other file, or files: `*` stands for a part of a name.

    Attributes:
        path: below data/.
        meaning: in words.
    """

    path: str
    meaning: str


_IMAGE = ("C", "H", "W")

ARRAYS = (
    Array("teacher/splits/train.npy", "int64", ("a",), "the training images' places in the dataset's own order"),
    Array("teacher/splits/test.npy", "int64", ("b",), "the test images' places"),
    Array("samples/images.npy", "uint8", ("N", *_IMAGE), "the samples"),
    Array("samples/decisions.npy", "int64", ("N",), "the teacher's decision on each"),
    Array("samples/index.npy", "int64", ("n",), "real, augmented: the real images' places in the training part"),
    Array("samples/rounds.npy", "int64", ("N",), "priors, augmented: the round in which each was asked"),
    Array("samples/sources.npy", "int64", ("N",), "likewise: 0 a real image, 1 a prior image, 2 a variation of one"),
    Array("samples/margins.npy", "float32", ("I", "N"), "zsdb3: the distance that each search of a sample found"),
    Array("samples/snapshots.npy", "uint8", ("S", "P", *_IMAGE), "zsdb3: some pseudo samples on the way"),
    Array("samples/pictured.npy", "int64", ("P",), "zsdb3: which these are"),
    Array("decisions/distances.npy", "float32", ("N", "K"), "d_k: 0 at the decision, +inf where k was never reached"),
    Array("decisions/asked.npy", "int32", ("N", "K"), "queries that each pair asked"),
    Array("decisions/distances_at.npy", "float32", ("T", "N", "K"), "the best known after `checkpoints[t]` queries"),
    Array("decisions/points.npy", "uint8", ("P", *_IMAGE), "boundary points, at most `query.points` of a sample"),
    Array("decisions/point_pairs.npy", "int64", ("P", 2), "(sample, class) of each"),
    Array("decisions/queried_images.npy", "uint8", ("A", *_IMAGE), "images asked, at most `query.queried_images` each"),
    Array("decisions/queried_decisions.npy", "int64", ("A",), "the decision on each"),
    Array("decisions/queried_keys.npy", "int64", ("A", 3), "(sample, class, place among the pair's queries) of each"),
    Array("decisions/starts.npy", "int64", ("N", "K", "Q"), "each pair's start samples, nearest first; −1: no more"),
    Array("decisions/variation_images.npy", "uint8", ("V", *_IMAGE), "the student's augmented images, the first V"),
    Array("decisions/variation_decisions.npy", "int64", ("V",), "the decision on each"),
    Array("decisions/variation_keys.npy", "int64", ("V", 3), "(sample, other sample, turn) of each"),
    Array("decisions/augmented.npy", "int64", ("M",), "decisions on the augmented baseline's images after these"),
    Array("transfer/images.npy", "uint8", ("N", *_IMAGE), "the samples"),
    Array("transfer/decisions.npy", "int64", ("N",), "the decision on each"),
    Array("transfer/soft_labels.npy", "float32", ("N", "K"), "rows sum to 1; mapping hard: the bare decisions"),
    Array("transfer/boundary_points.npy", "uint8", ("P", *_IMAGE), "where the recipe takes them, as samples"),
    Array("transfer/boundary_points_soft_labels.npy", "float32", ("P", "K"), "their labels"),
    Array("transfer/boundary_points_pairs.npy", "int64", ("P", 2), "(sample, class) of each"),
    Array("transfer/queried_images.npy", "uint8", ("A", *_IMAGE), "where the recipe takes them, variations last"),
    Array("transfer/queried_decisions.npy", "int64", ("A",), "likewise"),
    Array("transfer/queried_keys.npy", "int64", ("A", 3), "likewise; of a variation (sample, −1 − other parent, turn)"),
)

TABLES = (
    Table("teacher/history.csv", ("step", "loss", "lr"), "of a teacher that was trained here"),
    Table("student/history.csv", ("variant", "seed", "step", "loss", "lr"), "of every student"),
    Table("evaluation/confusion.csv", ("teacher", "student", "count"), "classes that both decided, where any"),
    Table("evaluation/accuracy.csv", ("variant", "seed", "accuracy", "agreement"), "of every student, on test images"),
    Table("evaluation/curve.csv", ("variant", "queries_per_sample", "accuracy", "sd"), "accuracy against queries"),
    Table(
        "evaluation/coverage.csv",
        ("threshold", "coverage", "agreement", "low", "high"),
        "of the exported student: test images with this score or more, how many of them it decides as the teacher, and "
        "what that allows at confidence 0.95, for one row alone; no row where the teacher was not asked",
    ),
)

OTHERS = (
    Other("teacher/teacher.safetensors", "the weights, where the teacher is a network of db3"),
    Other("teacher/model/*", "the files of a local model from elsewhere, as given"),
    Other("samples/journal/*.journal", "the sealed answers"),
    Other("decisions/journal/*.journal", "the sealed answers, a file for each kind of work"),
    Other("student/student.safetensors", "the exported student: variant `student`, first seed"),
    Other("student/student.onnx", "the same as ONNX"),
    Other("student/student.int8.onnx", "the same in int8, where `distill.int8` wants it"),
    Other("student/README.md", "its model card"),
    Other("student/variants/*/*.safetensors", "the student of each variant (folder) and seed (file)"),
    Other("report/index.html", "one self-contained page that works offline"),
)
