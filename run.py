"""The command `rotationbench` from a checkout.

python run.py method=rotationdrag
python run.py -m method=dragdiffusion,rotationdrag
python run.py task=evaluate results_dir=results
"""

import sys

from rotationbench.command_line import main

if __name__ == "__main__":
    sys.exit(main())
