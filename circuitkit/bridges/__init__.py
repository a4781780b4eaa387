"""Bridges: maps between the residual streams of a sparse model and of a frozen dense one.

In: a sparse checkpoint trained with bridges (``circuitkit train --bridge-to``) and the dense one.
Out: how well each stands for the other, and what a node of the sparse model does in the dense.
Source: Gao et al. 2025, sections 2.3, 3.3, A.3 and A.4; docs/bridges.md.
"""
