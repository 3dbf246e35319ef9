"""What a figure shows of trained detectors on images: Figs. 6 to 9, declared in ``experiments/figures``.

- ``declared`` reads those files and finds the runs behind them;
- ``annotated`` reads the validation images, and chooses those to show by their annotations;
- ``detectors`` builds a trained detector, ``replay`` trains the first epochs of a run again;
- ``threshold`` says from which score on detections are shown;
- ``detections`` and ``assignment`` capture the two kinds of figure;
- ``stored`` writes what was captured.
"""
