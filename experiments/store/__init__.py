"""The files of runs, written and read in one place, and the errors shown to users."""
