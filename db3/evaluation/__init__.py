"""Evaluation: what a student is worth, told in accuracy, agreement with the teacher, size and queries."""

from db3.evaluation.measures import accuracy, agreement, confusion, summary
from db3.evaluation.results import Size, Variant, build_metrics, build_summary
from db3.evaluation.tables import write_accuracy, write_confusion, write_curve
from db3.teachers.decide import decide_all

__all__ = [
    "Size",
    "Variant",
    "accuracy",
    "agreement",
    "build_metrics",
    "build_summary",
    "confusion",
    "decide_all",
    "summary",
    "write_accuracy",
    "write_confusion",
    "write_curve",
]
