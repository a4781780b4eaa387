"""The functions that a written program calls, as text; those that it does not call are left out."""

from __future__ import annotations

HELPERS = {
    "columns": '''def columns(table, keys):
    """The row of each key, as one array a column."""
    unknown = [key for key in keys if key not in table]
    if unknown:
        raise KeyError(f"{unknown[0]} is in no prompt of the task; its {len(table)} rows are known")
    return np.array([table[key] for key in keys], dtype=float).T''',
    "attention": '''def attention(score, n, sink=-np.inf):
    """How much each position looks at itself and those before it; the sink takes a share."""
    score = np.where(np.tri(n, dtype=bool), score, -np.inf)
    top = np.maximum(score.max(1, keepdims=True), sink)
    weights = np.exp(score - top)
    return weights / (weights.sum(1, keepdims=True) + np.exp(sink - top))''',
    "keep": '''def keep(x, limit):
    """Activation top-k: what is smaller than the limit is 0."""
    return np.where(np.abs(x) >= limit, x, 0.0)''',
    "nth_largest": '''def nth_largest(n, *magnitudes):
    """The n-th largest magnitude at each position; a hair less, so that it survives itself."""
    return np.sort(np.abs(np.vstack(magnitudes)), axis=0)[-n] * (1 - 1e-9)''',
    "rivals": '''def rivals(table, inputs):
    """Other channels of a site: for each a constant, and a weight for every input."""
    return table @ np.vstack([np.ones_like(inputs[0]), *inputs])''',
    "gelu": '''def gelu(x):
    """The activation function."""
    return x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2''',
    "gelu_tanh": '''def gelu_tanh(x):
    """The activation function, as GPT-2 approximates it."""
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2''',
    "relu": '''def relu(x):
    """The activation function."""
    return np.maximum(x, 0)''',
}
