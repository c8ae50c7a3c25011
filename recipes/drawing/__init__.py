"""The pictures and tables of `results/`, made from the data files beside them alone.

A module for each kind of result. Its `outputs(folder)` names what it makes there and from which
files; `recipes/figures.py` makes all of it. Nothing here needs sparl or what a run left behind.
"""
