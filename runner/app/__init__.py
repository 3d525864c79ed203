"""The application: builds the parts and puts them together, one function per verb.

`nightly` is a night with its ports from outside. The verbs are in `acting` (run, init, sandbox), `planning` (plan,
check), `looking` (status, explain, verify, schema) and `deciding` (retry, skip). The only place that constructs the
journal, the transport, the output and the engine.
"""
