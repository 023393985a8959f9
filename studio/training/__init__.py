"""LoRA training: data sets read and judged without torch, and one loop that trains on them with it.

Importing the package, or what reads data sets, leaves torch alone.
"""
