"""See: find, verify and explain the circuit of heads behind a behaviour whose answer spans several tokens.

García-Carrasco, Maté & Trujillo, "How does GPT-2 Predict Acronyms? Extracting and Understanding a Circuit via Mechanistic
Interpretability", AISTATS 2024, arXiv 2405.04156.

A map of the files, in the order of the job:
    behavior.py      prompts with roles, answers of k tokens, corruptions; behaviors/ has one file each
    metrics.py       logit difference and friends, `[batch, step]`
    performance.py   how well the model does it at all
    engine.py        exact patching without wasted work: read this first, then
    variant.py       what is replaced, and the runs it departs from; reference.py makes the values that replace
    plan.py          which cells are run, from where, and which go together; climb.py is the pass up the layers
    inputs.py        queries, keys, values and patterns as patches of what heads put out
    memory.py        what will be held, known before; cost.py what a grid costs at least
    patching.py      effect of every site, by role; effects.py is the result
    isolation.py     a circuit on its own
    resume.py        what a measurement depends on: the keys of the journal
    graph.py         senders, receivers and the edges between them
    paths.py         exact effect of an edge; cutting.py measures any set of edges taken away
    gradients.py     slopes of the metric at every site; attribution.py and edge_attribution.py estimate effects from them
    search/          ways to find one; one file each
    agreement.py     estimates beside exact effects
    verify.py        faithfulness, completeness, minimality, random circuits
    sensitivity.py   how faithfulness moves with ablation, direction, metric and prompts
    explain/         attention, direct effects, letters, roles, positions
    circuit.py       the result: heads with roles and effects
    find.py          the whole job; config.py its options
    write.py         findings to a run folder; figures.py, report.py and show.py read it
    page/            the kit of all pages: numbers, drawings, templates, style and script
    explore/         a live page: type a phrase, ablate and patch heads, see the answer change
    compare/         finished runs side by side: shared heads, effects, what each keeps of the others
    reproduce.py     the published numbers beside ours; paper.py has them, tolerance.py the tolerances
"""
