"""What the program costs, beside a floor and peers that run in the same minutes: `python -m tests.bench`.

Timings are no tests: nothing here is collected by pytest. What is measured are whole child processes, as a scheduler
would start them; the server they talk to is a process of its own and counts for nobody.
"""
