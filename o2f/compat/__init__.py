"""What makes o2f work without mmcv's compiled operations and with torch's safe loading."""
