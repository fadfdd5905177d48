"""Labelling spans of text: named entities, slots, and the intent of the whole.

schemes.py   tags and the spans they mean
data.py      sentences from columns, and from joint files
crf.py       a linear-chain CRF over words
"""
