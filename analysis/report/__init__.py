"""The report: one HTML page with everything that is stored."""
