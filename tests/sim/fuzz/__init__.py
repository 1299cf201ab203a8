"""The fuzz: what a seed stands for, who runs it, and what is left of what fails."""
