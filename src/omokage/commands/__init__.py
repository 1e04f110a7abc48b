"""The commands of `omokage`, a module each: its arguments, its way through files, and what it prints.

`arguments` has what several take; `sources` and `outputs` where rows come from and answers go; `answers`, `parts` and
`lines` the ways between. The module of a command is loaded for `--help`, so it loads what is heavy when it runs.
"""
