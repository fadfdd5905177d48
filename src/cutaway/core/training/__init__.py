"""Training: one loop for every room that learns.

options.py      what can be set; defaults are the rooms' to choose
task.py         what a room brings: samples, losses, a score on its dev set
order.py        which samples make up each step: the same for one process and for many
schedule.py     the learning rate at a step, a plain function
checkpoint.py   everything a training needs to go on, in files without pickle
loop.py         the loop: read this first
"""

from cutaway.core.training.loop import Trained as Trained
from cutaway.core.training.loop import train as train
from cutaway.core.training.options import Training as Training
from cutaway.core.training.task import Task as Task
