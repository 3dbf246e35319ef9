"""One run: its training, evaluation and speed, on one process or several."""
