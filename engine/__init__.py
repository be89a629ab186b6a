"""The pure core: usage events in, state changes and notifications out.

Nothing here performs I/O, reads a clock, draws random numbers or awaits. Time comes in as a value,
effects go out as data. An import-linter contract holds that line.
"""
