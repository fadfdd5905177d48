"""Trunks, each one file: how it is built, which layers are compared, where its weights come from."""
