"""Agents that other libraries trained, brought into a run folder of sparl.

A reader (`sb3`) makes a `Trained` of a file; `sparl.api` begins a run with it. Reading runs no code
out of the file.
"""
