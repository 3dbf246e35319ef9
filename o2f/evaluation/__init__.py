"""COCO's and CrowdHuman's metrics without and with NMS, and the matches behind them."""
