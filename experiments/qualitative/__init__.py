"""Detections and assigned degrees of trained detectors on single images: the data of Figs. 6 to 9."""
