"""What came out: reads the plans and results that ``experiments`` stored, shows them as tables and checks the claims.

It knows only the schema of the stored files. Tables need nothing beyond the standard library, figures NumPy and
Matplotlib. In the order in which one passes through them:

- ``home`` says where files lie, ``results`` reads them, with ``plans`` for what a plan holds and ``checks`` for what it
  complains about;
- ``readings`` gives the numbers of a cell, ``layout`` puts them where the paper does, ``words`` says what they are;
- ``markdown`` and ``latex`` format what was laid out, ``tables`` does so in any format;
- ``make_tables`` is the command line.

Claims need NumPy and SciPy besides:

- ``claims`` says what is claimed, ``evidence`` what the runs say of it: results, epochs (``epochs``) and matches
  (``matches``), whose metrics ``resampled`` computes on samples of the test images;
- ``bootstrap`` draws the samples, ``intervals`` says how sure a difference is, ``findings`` judges each comparison and
  ``verdicts`` each claim;
- ``verdict_words`` says why, ``claim_pages`` writes Markdown and JSON, ``check_claims`` is the command line.

Figures are drawn in ``figures`` from what ``epochs`` and ``captures`` read; ``duplicates`` says which
detections are duplicates. ``make_figures`` is their command line.

``report`` puts all of it into one page, and ``make_report`` is its command line.
"""
