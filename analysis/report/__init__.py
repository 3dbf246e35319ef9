"""The report: one HTML page of all that is stored, which needs nothing but a browser.

- ``trainings`` reads what is there of each run, with ``configs`` for what sets its config apart from the others';
- ``origins`` says on which machines and versions they were trained, ``grids`` puts tables into rows for HTML,
  ``training_views`` says what the section of a run shows, ``verdict_views`` what is shown of claims and their
  intervals, ``pictures`` draws the figures, ``curves`` the small ones;
- ``contents`` gathers all of it, and ``page`` fills the templates.
"""
