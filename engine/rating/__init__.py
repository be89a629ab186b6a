"""Quantities -> money, for USAGE products. All of it runs under the exact context of engine.numbers.

    raw quantity ──convert──► ──round──► billed quantity ──ladder of prices──► amount in the rate's credit type

    prices      one rate row as a ladder of prices; the cost of a stretch of it
    book        a rate card compiled: which ladder holds for which product, pricing values and hours
    quantities  conversion and rounding
    lines       line items, and their sum

A *line* is the usage of one product by one combination of pricing and presentation values in one billing period of one contract.
Where its price changes inside the period it has several *slices*, each with its own quantity and its own line item.
"""
