"""Real processes killed at exact places: the command with its ports wrapped, from outside the program's code.

* `ports`: the places, at each of which the process may kill itself
* `python -m tests.killing --at PLACE --when before -- run …`: the command `runner run …` that dies there
* `nights`: kill, run again, and judge what the program and the server have to show
* `python -m tests.killing.soak --minutes 60`: as many random kills as fit, and the figures
"""
