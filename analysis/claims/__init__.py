"""Which of the paper's claims hold: comparisons, intervals, verdicts and their reasons (docs/claims.md)."""
