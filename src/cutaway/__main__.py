"""`python -m cutaway`, as `torchrun -m cutaway` needs it."""

from cutaway.cli import main

main()
