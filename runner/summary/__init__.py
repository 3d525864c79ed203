"""What is told of a night: run.json (`document`), the morning page, words for a terminal (`story`), the exit code.

Plain values in, text out: nothing here stores, sends or reads a clock; its own templates are all that it loads.
"""
