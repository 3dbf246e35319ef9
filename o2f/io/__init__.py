"""Checkpoints, configs and images from any source, ids in COCO files, and the graph for ONNX."""
