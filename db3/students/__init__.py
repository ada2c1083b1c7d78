"""Students: the variants of a comparison, teacher assistants, training, export, model card and latency."""

from db3.settings.training import AssistantSettings, VariantSettings
from db3.students.assistants import label_by_assistants
from db3.students.choose import Choice, candidates, choose_variant, recommend, why_no_choice
from db3.students.comparison import SearchProgress, VariantSources, build_variants, left_out
from db3.students.train import StudentSettings, TrainedStudent, train_variants
from db3.students.variants import Variant, student_variant, terms_of

__all__ = [
    "AssistantSettings",
    "Choice",
    "SearchProgress",
    "StudentSettings",
    "TrainedStudent",
    "Variant",
    "VariantSettings",
    "VariantSources",
    "build_variants",
    "candidates",
    "choose_variant",
    "label_by_assistants",
    "left_out",
    "recommend",
    "student_variant",
    "terms_of",
    "train_variants",
    "why_no_choice",
]
