"""Desk data: scenes in COCO's format and crowds in CrowdHuman's, generated from a seed."""
