"""From features to spans: one file each, found by discovery (`parts.py`)."""
