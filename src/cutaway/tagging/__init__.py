"""Labelling spans of text: named entities, slots, and the intent of the whole.

Chen, Zhuo & Wang 2019, BERT for joint intent classification and slot filling (arXiv 1902.10909), and the parts that the survey of
Li, Sun, Han & Li 2020 (arXiv 1812.09449) sorts named-entity recognition by.

Text and labels
    data.py          sentences, from columns and from joint files; json_lines.py: with spans within spans
    corpus.py        train, dev and test in a folder
    schemes.py       tags and the spans they mean
The model
    config.py        all settings
    model.py         inputs → context → decoder and head, one loss: read this first
    parts.py         what an input, a context and a decoder are; each is a file in inputs/, contexts/, decoders/
    combination.py   which of them go together
    intents.py       the head for intents: labels or sets
    word_tags.py     what decoders over words share; crf.py, forward_backward.py: the chain between tags
Its life
    fit.py           training, and calibration on dev (calibration.py); adversarial.py: with disturbed words;
                     transfer.py: from another run
    evaluate.py      scores.py: exact matches; relaxed.py: near ones; show.py: tables; paper.py: published numbers
    predict.py       frames of plain text; active.py: which sentences to label next
    store.py         on disk; run.py: a training as a run folder; shrink.py: in 8 bits
"""
