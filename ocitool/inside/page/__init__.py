"""The page of `size --html`: what an image holds, as one file that needs nothing else."""
