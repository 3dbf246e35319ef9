"""The last evaluation also gives the AP of the second branch alone, with NMS: ``second_with_nms/AP``. After ``dual``.

The second branch must have predictors of its own. Training is as without this variant.
"""

val_evaluator = dict(second=True)
