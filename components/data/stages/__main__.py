"""`python -m components.data.stages STAGE NAME`, which `dvc.yaml` runs."""

from __future__ import annotations

import sys

from components.data.stages.stages import main

sys.exit(main(sys.argv[1:]))
