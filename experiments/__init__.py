"""Every table and figure of the paper as data, and the code that trains their runs."""
