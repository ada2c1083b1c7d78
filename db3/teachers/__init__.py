"""Teachers: anything that answers an image with a class, in four layers: adapter, votes, answers, budget."""

from db3.teachers.adapters.batching import Batching
from db3.teachers.adapters.network import NetworkTeacher
from db3.teachers.base import Teacher, TeacherSpec
from db3.teachers.budget import Budget, Costs
from db3.teachers.folder import open_teacher
from db3.teachers.votes import Votes

__all__ = ["Batching", "Budget", "Costs", "NetworkTeacher", "Teacher", "TeacherSpec", "Votes", "open_teacher"]
