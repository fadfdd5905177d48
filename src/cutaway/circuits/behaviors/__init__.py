"""Behaviours to explain: one file each, a builder, its frozen options and a `BEHAVIOR` record; found by discovery."""

from cutaway.circuits.behaviors.record import Recipe as Recipe
from cutaway.circuits.behaviors.record import behavior_recipe as behavior_recipe
from cutaway.circuits.behaviors.record import behavior_recipes as behavior_recipes
