"""Jobs: what they are (`model`), how they change (`machine`), what they do next (`agenda`), how they fail (`remedies`).

Pure: no module in here sends, stores, shows or reads a clock.
"""
