"""Data and weights: checked where they must exist, or generated for the desk profile (``synthetic``)."""
