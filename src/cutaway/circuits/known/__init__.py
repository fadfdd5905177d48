"""Circuits that others have published, as data: one file each with a `KNOWN` record; found by discovery.

A map of the files:
    record.py    what a published circuit is, and how sure one can be of it
    acronyms.py, ioi.py, greater_than.py, induction.py, docstring.py    the circuits
"""

from cutaway.circuits.known.record import KnownCircuit as KnownCircuit
from cutaway.circuits.known.record import known_circuit as known_circuit
from cutaway.circuits.known.record import known_circuits as known_circuits
