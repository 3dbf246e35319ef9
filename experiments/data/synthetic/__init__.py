"""Desk data: generated scenes in COCO's layout and generated crowds in CrowdHuman's, made on the spot from a seed."""
