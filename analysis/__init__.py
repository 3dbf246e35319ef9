"""What came out: reads the plans and results that ``experiments`` stored and shows them as tables.

It knows only the schema of the stored files, which :mod:`analysis.results` describes, and needs nothing beyond the
standard library: ``results`` reads, ``tables`` lays out and formats one table, ``make_tables`` is the command line.
"""
