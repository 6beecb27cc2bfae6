"""`python -m rotationbench` is the command `rotationbench`."""

import sys

from rotationbench.command_line import main

sys.exit(main())
