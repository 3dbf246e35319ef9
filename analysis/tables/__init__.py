"""Tables laid out as in the paper, with notes, as Markdown, LaTeX, CSV or JSON."""
