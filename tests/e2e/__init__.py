"""The program from outside: the command as a process, a local Lucca on a socket, real files."""
