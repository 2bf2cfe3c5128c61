"""Processes: the embedded server, worker processes and who looks after them."""
