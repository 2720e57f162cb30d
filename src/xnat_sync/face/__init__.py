"""What the user meets: the command line, and the way from its options to a run."""
