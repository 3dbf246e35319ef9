"""The report: one HTML page with all stored results."""
