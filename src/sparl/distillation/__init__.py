"""Small students of trained policies."""

from sparl.distillation.dagger import DAgger
from sparl.distillation.distill import Distilled, Student, configured, distill

__all__ = ["DAgger", "Distilled", "Student", "configured", "distill"]
