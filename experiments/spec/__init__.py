"""Table and figure files, configs, plans and run ids. Nothing here imports torch."""
