"""`python killed.py STEPS WORD …`: the command `cutaway WORD …`, killed without warning when so many steps of training are done."""

import os
import signal
import sys

from cutaway.cli import run
from cutaway.core.training import loop

left = int(sys.argv[1])
step = loop._Loop.step


def killing(self, batches):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return step(self, batches)


loop._Loop.step = killing
sys.exit(run(sys.argv[2:]))
