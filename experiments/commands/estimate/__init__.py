"""What a grid will cost in hours and disk space, for run.py --dry-run and run.py doctor."""
