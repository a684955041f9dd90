"""Functions that the tests of several rooms share. What one room alone needs is in that room.

runs        run folders: their files, what two runs must have in common, forging them with a manifest that fits
specs       spec files
recorder    a reporter that keeps what a run reports
commands    the command line in a process of its own
records     records of made-up networks
processes   whether a process, or a group of processes, has ended or stopped
"""
