"""From stored runs to tables, verdicts, figures and pages.

``analysis`` reads stored files only, through ``experiments.store``. It trains nothing.

- ``results`` reads plans and results. ``make_tables`` prints them as tables, using ``tables``.
- ``claims`` judges the paper's claims. ``check_claims`` shows the verdicts.
- ``figures`` draws Figs. 5 to 9, curves and more. ``make_figures`` writes them to files.
- ``report`` puts everything into one HTML page. ``make_report`` writes it.
- ``make_results`` writes docs/results.md. ``publish`` copies runs to ``results/``.
- ``cli`` has the common code of these scripts.
"""
