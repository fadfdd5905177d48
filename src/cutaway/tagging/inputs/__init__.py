"""What is known of a word by itself: one file each, found by discovery (`parts.py`)."""
