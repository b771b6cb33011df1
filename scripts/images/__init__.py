"""Derived images: the catalogue that they are made from, how they are built and checked, and one of them run here."""
