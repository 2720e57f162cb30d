"""What decides: pure functions and frozen types. No await, no socket, no file, no clock of its own."""
