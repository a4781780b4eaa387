"""Controls: what a circuit is compared with, from random circuits to other tasks' circuits."""
