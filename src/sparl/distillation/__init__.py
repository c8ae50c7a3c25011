"""Small students of trained policies."""

from sparl.distillation.dagger import DAgger
from sparl.distillation.from_teacher import STEPS, configured, distill
from sparl.distillation.students import Distilled, Student, train_students

__all__ = ["STEPS", "DAgger", "Distilled", "Student", "configured", "distill", "train_students"]
