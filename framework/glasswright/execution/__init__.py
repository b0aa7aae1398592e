"""Who computes: threads, worker processes and hosts, and the signals that stop them."""
