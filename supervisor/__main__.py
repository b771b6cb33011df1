"""`python -m supervisor` is the `supervisor` command."""

import sys

from supervisor.cli import main

sys.exit(main())
