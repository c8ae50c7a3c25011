"""Many runs from one file: environments x variants x seeds, side by side, resumable."""

from sparl.sweeps.controls import Control, beside
from sparl.sweeps.runner import SweepResult, Trial
from sparl.sweeps.study import Job, Study
from sparl.sweeps.sweep import sweep

__all__ = ["Control", "Job", "Study", "SweepResult", "Trial", "beside", "sweep"]
