"""What to run: every table of the paper as data, and the means to train its cells."""
