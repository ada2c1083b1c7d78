"""Teachers: anything that answers an image with a class, and the wrappers between it and a search."""

from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.folder import open_teacher
from db3.teachers.meter import Meter

__all__ = ["Batching", "Meter", "NetworkTeacher", "Teacher", "TeacherSpec", "open_teacher"]
