"""Finished runs side by side: do two seeds, behaviours or models use the same heads?

    compare(["runs/seed-0", "runs/seed-1"])

A map of the files:
    sides.py         the runs, read and named; runs of one shape
    conventions.py   whether their numbers compare at all
    heads.py         which heads are in which circuit; roles and their depth
    overlap.py       heads shared, beside what chance would share
    rank.py          agreement of two lists of effects, with intervals
    effects.py       agreement of effects between runs; steps.py between the answer steps of one run
    again.py         a run's model and prompts made again
    cross.py         what each circuit keeps of the other runs
    comparison.py    the result: read this first
    show.py          the result in a terminal; write.py as files; page.py and compare.html.j2 as a page
"""

from cutaway.circuits.compare.comparison import Comparison as Comparison
from cutaway.circuits.compare.comparison import compare as compare
