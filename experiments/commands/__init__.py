"""What run.py does besides training a table: its options, doctor, estimates, search, status and clean-up."""
