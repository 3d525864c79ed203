"""The tests: real sockets, real files, no mocks, no sleeping. Modules that are not called `test_…` help those that are.

* `job_samples`, `summary_samples`: jobs and nights as plain values
* `virtual`, `virtual_loop`: time that jumps, and connections made of memory
* `nights`: one virtual night against the sandbox; `office`: a bureau over many, with its manifest and journal on disk
* `scripted`, `readers`, `streams`: servers, readers and streams of one kind each
* `canaries`: keys and names, looked for wherever none may stand
* `diagram`, `figures`, `promises`, `readme`: what the README shows
* `e2e`: the command as a process, from outside
* `simulation`: whole nights from a seed, with every kind of trouble; `killing`: real processes killed at exact places
* `controls`: faults planted to see that the tests notice; `bench`: what the program costs
"""
