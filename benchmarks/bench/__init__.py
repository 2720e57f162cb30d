"""The parts of ``make bench``: what is fetched, who serves it, who fetches it, and how it is told.

``datasets`` makes sites, ``front`` serves their answers ready-made, ``clock`` measures commands in turn, ``shells`` and
``clients`` are the rivals, ``throughput``, ``latency``, ``growth`` and ``small`` are the scenarios, ``report`` and
``pictures`` show what came of them. No figure here is ever asserted on: a slow machine is no failure.
"""
