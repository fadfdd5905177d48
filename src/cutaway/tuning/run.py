"""A training as a run folder: `fit_run(config, corpus, out)`; see `core/fitting.py`, which makes it."""

from functools import partial

from cutaway.core.fitting import Life, fitted_run
from cutaway.tuning.evaluate import evaluate
from cutaway.tuning.fit import fit
from cutaway.tuning.store import save

fit_run = partial(fitted_run, Life("tuning", "examples", fit, evaluate, save))
