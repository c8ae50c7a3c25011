"""Small students of trained policies."""

from sparl.distillation.dagger import DAgger
from sparl.distillation.distill import configured, distill
from sparl.distillation.students import Distilled, Student, train_students

__all__ = ["DAgger", "Distilled", "Student", "configured", "distill", "train_students"]
