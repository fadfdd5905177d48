"""Parameter-efficient tuning: every method of the field's taxonomy behind one call, on any transformer.

Xu, Xie, Qin, Tao & Wang 2023, Parameter-efficient fine-tuning methods for pretrained language models: a critical review and
assessment (arXiv 2312.12148), sorts them into additive, partial, reparameterised, hybrid and unified ones. Each is one file in
methods/.

    tune.py      tune(model, "lora", rank=8) and what comes back: read this first
    method.py    what a method is: its record, and how it is found
    places.py    where in a model it acts: parts by their role, whatever the family calls them
    attach.py    the three ways of acting: beside a module, on a weight, on which parameters learn
    attention.py prefixes inside attention
    through_peft.py  methods that the library `peft` has; prompts.py, those of them that put vectors before the input
    format.py    on disk, in the format of `peft`
"""
