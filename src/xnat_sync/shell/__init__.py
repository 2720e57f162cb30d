"""What does: the network, the disk and the terminal. The modules here do not know each other."""
