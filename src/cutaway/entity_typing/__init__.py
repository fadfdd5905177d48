"""The types of entities, from coarse to ultra-fine, for mentions in their sentences.

Liu, Lin, Xiao, Han, Sun & Wu 2021, Fine-grained entity typing via label reasoning (EMNLP 2021, arXiv 2109.05744), on the data of
Choi, Levy, Choi & Zettlemoyer 2018, Ultra-fine entity typing (ACL 2018).

Mentions and types
    data.py          a mention in its sentence; marked texts
    layouts.py       the ways mentions are written on lines
    reading.py       files of them, and distant supervision drawn from large ones
    type_list.py     the list of types, and its groups
    corpus.py        train, dev and test in a folder
What leads to them
    graph.py         the bipartite attribute graph, as data; lemmas.py: words in the form of a dictionary
How right they are
    scores.py        the published protocol, with intervals, by group and by how often training has shown a type
    predictions.py   files of predictions
    show.py          tables; paper.py: published numbers
"""
