"""COCO's and CrowdHuman's metrics without and with NMS, and without groups of the images."""
