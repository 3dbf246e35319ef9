"""What trained detectors find, and are assigned, on single images: the data of Figs. 6 to 9."""
