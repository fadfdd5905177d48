"""Ways to find a circuit: one file a method, each a function and a `METHOD` record; found by discovery."""
