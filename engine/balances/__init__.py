"""Commits and credits: which usage they pay, in what order, and what is left of them.

    matching   which balance pays which usage, and which balance goes first
    draw       lines of usage and what balances hold -> what each pays of each line
    ledger     the entries of a balance's ledger, and what is left in its segments
    seats      who has a seat when, and which balances of seats nothing else is drawn before
    shares     what each seat has of what a recurring commit or credit grants

All of it runs under the exact context of engine.numbers.
"""
