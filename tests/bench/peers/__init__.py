"""Who is measured beside the program: scripts that do the same `work` in the plainest way. None imports the program."""
