"""What the processes of a container do now, from the numbers that they publish as metrics.

`sources` reads the numbers, `figures` compares them with earlier ones, and `text` shows the result.
"""
