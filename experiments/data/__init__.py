"""Data and weights, found and checked, or generated for the desk profile (synthetic)."""
