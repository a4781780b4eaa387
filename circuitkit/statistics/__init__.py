"""Statistics: values of pairs in, intervals, outcomes and p-values out."""
