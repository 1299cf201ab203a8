"""The fuzz: what a seed stands for, who plays it, and what is left of what fails."""
