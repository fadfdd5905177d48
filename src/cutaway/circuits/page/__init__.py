"""The parts of a run's one-page report (`circuits/report.py` puts them together).

numbers.py      numbers as a reader sees them; tables
heat.py, curve.py, drawing.py   geometry of the inline drawings: heat maps, the build-up, the circuit
marks.py        a shape, letter and colour for every role
sections.py     each section of the page, from the record of a run
heads.py        those about heads: the circuit, a panel for every head, heat maps
*.html.j2       the sections' templates; macros.html.j2 draws what charts.py has laid out
style.css, script.js   both are put into the page
"""
