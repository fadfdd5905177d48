"""Parameter-efficient tuning: every method of the field's taxonomy behind one call, on any transformer.

Xu, Xie, Qin, Tao & Wang 2023, Parameter-efficient fine-tuning methods for pretrained language models: a critical review and
assessment (arXiv 2312.12148), sorts them into additive, partial, reparameterised, hybrid and unified ones. Each is one file in
methods/.

Methods on a model
    tune.py      tune(model, "lora", rank=8) and what comes back: read this first
    method.py    what a method is: its record, and how it is found
    places.py    where in a model it acts: parts by their role, whatever the family calls them
    attach.py    the three ways of acting: beside a module, on a weight, on which parameters learn
    attention.py prefixes inside attention; sparse.py, difference.py, bits.py: parts that several methods share
    through_peft.py  methods that the library `peft` has; prompts.py, those of them that put vectors before the input
    format.py    on disk, in the format of `peft`
    plan.py      what each costs on a model
A model for a task
    data.py      examples from files; corpus.py: a data set in a folder
    config.py    all settings
    backbone.py  the pretrained model, in full or fewer bits
    model.py     backbone, method and head, one loss; reading.py: from text to pieces; next_token.py: losses without all logits
Its life
    fit.py       training
    evaluate.py  scores.py: metrics with intervals; show.py: tables; paper.py: published numbers
    predict.py   answers to texts; merge.py: as a model of its own
    store.py     on disk; run.py: a training as a run folder
"""
