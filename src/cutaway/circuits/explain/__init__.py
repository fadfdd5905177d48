"""Why a head matters: what it attends to, what it writes, what it copies, and how it knows where it is.

attention.py   from each answer token to each role
direct.py      direct logit attribution, and copying measured on the prompts
edges.py       which heads of the circuit speak to which
letters.py     the 26×26 OV letter matrices and the copying score of the acronym paper
roles.py       automatic roles, with the evidence for each
positional.py  what happens when positions, or the attention paid to the first token, are exchanged
"""
