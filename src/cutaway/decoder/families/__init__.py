"""One file a family, each a `FAMILY` record; found by discovery."""
