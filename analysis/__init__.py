"""What came out: reads the plans and results that ``experiments`` stored and shows them as tables.

It knows only the schema of the stored files. Tables need nothing beyond the standard library, figures need NumPy and
Matplotlib. In the order in which a table passes through them:

- ``results`` reads the files, with ``plans`` for what a plan holds and ``checks`` for what it complains about;
- ``readings`` gives the numbers of a cell, ``layout`` puts them where the paper does, ``words`` says what they are;
- ``markdown`` and ``latex`` format what was laid out, ``tables`` does so in any format;
- ``make_tables`` is the command line.

Figures are drawn in ``figures`` from what ``epochs`` and ``captures`` read; ``duplicates`` says which
detections are duplicates. ``make_figures`` is their command line.
"""
