"""What a grid will cost: hours, and room on the disk (``run.py --dry-run``, ``run.py doctor``)."""
