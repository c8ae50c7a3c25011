"""`python -m sparl`, the same as the command `sparl`."""

import sys

from sparl.cli import main

sys.exit(main())
