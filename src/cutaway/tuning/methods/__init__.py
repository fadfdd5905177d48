"""The methods, one file each; `cutaway.tuning.method.methods()` finds them."""
