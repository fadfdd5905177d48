"""The kit of all pages: numbers, drawings, templates, style and script. `circuits/report.py` makes a run's page of it.

numbers.py      numbers as a reader sees them; tables
heat.py, curve.py, drawing.py   geometry of the inline drawings: heat maps, the build-up, the circuit
marks.py        a shape, letter and colour for every role
edges.py        what heads write to each other, as arrows
sections.py     each section of the page, from the record of a run
heads.py        those about heads: the circuit, heat maps
data.py         what the script knows, as JSON; packed.py puts a number into a character
*.html.j2       the sections' templates; macros.html.j2 draws what has been laid out
style.css, scripts/   both are put into the page; scripts/dom.js comes first, start.js last
still.py        drawings for places without a script: comparisons, and notebook.py, what a notebook shows
"""
