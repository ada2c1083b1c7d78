"""Students: the variants of a comparison, teacher assistants, training, export, model card and latency."""

from db3.students.comparison import SearchProgress, VariantSettings, VariantSources, build_variants, left_out
from db3.students.variants import Variant, student_variant

__all__ = [
    "SearchProgress",
    "Variant",
    "VariantSettings",
    "VariantSources",
    "build_variants",
    "left_out",
    "student_variant",
]
