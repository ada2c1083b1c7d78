"""Evaluation: what a student is worth: accuracy, agreement with the teacher, size and queries."""

from db3.evaluation.evaluate import Evaluation, VariantStudents, evaluate_students
from db3.evaluation.measures import accuracy, agreement, confusion, summary
from db3.evaluation.results import (
    Int8Metrics,
    Metrics,
    RunFacts,
    Size,
    Summary,
    TeacherDecisions,
    VariantDecisions,
    build_metrics,
    build_summary,
    int8_metrics,
)
from db3.evaluation.tables import write_accuracy, write_confusion, write_curve
from db3.teachers.decide import decide_all

__all__ = [
    "Evaluation",
    "Int8Metrics",
    "Metrics",
    "RunFacts",
    "Size",
    "Summary",
    "TeacherDecisions",
    "VariantDecisions",
    "VariantStudents",
    "accuracy",
    "agreement",
    "build_metrics",
    "build_summary",
    "confusion",
    "decide_all",
    "evaluate_students",
    "int8_metrics",
    "summary",
    "write_accuracy",
    "write_confusion",
    "write_curve",
]
