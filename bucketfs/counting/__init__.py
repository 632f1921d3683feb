"""What a mount does, counted: who asked for what, how long it took, what it may cost.

Below every other layer, so that each may count: it knows operations only by their names.
"""
