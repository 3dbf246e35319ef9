"""Which anchors are positive, and how positive they are: sections 3.2 and 3.3, and the selections of the baselines."""
