"""The live explorer: one page on which a phrase is typed, heads are ablated or patched, and the answer changes.

question.py     what the page may ask, with every bound checked
phrase.py       a text as the model reads it: tokens, roles, the answer fed back; which tokens of two phrases line up
means.py        what an ablated head gets in place of its own value
changes.py      from a question to the values that are put in place
passes.py       one run of a phrase with changes, begun at the first layer that differs
bench.py        the laboratory bench: model, means and the phrases last looked at; answers questions
sweep.py        every head patched, one at a time, by the engine
findings.py     what the bench answers, and how the page reads it
setup.py        from a run folder to a bench
turns.py        who may use the model: one question at a time, of each page only its newest
security.py     what is let in, and the headers that go out
app.py          the pages and answers over HTTP; server.py binds a port and serves them
page.py, page.html.j2, explore.css, scripts/   the page itself, on the style of circuits/page
"""
