"""A training as a run folder: `fit_run(config, corpus, out)`; see `core/fitting.py`, which makes it."""

from functools import partial

from cutaway.core.fitting import Life, fitted_run
from cutaway.tagging.evaluate import evaluate
from cutaway.tagging.fit import fit
from cutaway.tagging.store import save

fit_run = partial(fitted_run, Life("tagging", "sentences", fit, evaluate, save))
