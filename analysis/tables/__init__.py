"""One table, laid out as in the paper, with its notes, as Markdown, LaTeX, CSV or JSON."""
