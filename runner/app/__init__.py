"""The application: builds the parts and puts them together, one function per verb.

`nightly` is a night with its ports from outside; `acting` and `looking` are the verbs that change something
and those that do not. The only place that constructs journal, transport, output and engine.
"""
