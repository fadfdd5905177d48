"""What a sentence adds to its words: one file each, found by discovery (`parts.py`)."""
