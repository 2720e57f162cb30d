"""What runs: the task groups that join the pure core to the shell."""
