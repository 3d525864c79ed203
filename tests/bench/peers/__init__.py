"""Who is measured beside the program: each a script that does the same work in the plainest way. None imports it."""
