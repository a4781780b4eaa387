"""pyvene: interchange interventions on single heads and neurons, and on all outside a circuit.

Heads are ``head_attention_value_output``, neurons subspaces of ``mlp_activation``, both at all
positions. The base is a prompt, the source the other prompt of its pair; the score is what the
logit difference loses.
"""

from __future__ import annotations

import time

import pyvene
import torch
from planted_folder import Folder, Prompts, main, method
from transformers import AutoModelForCausalLM

HEADS, NEURONS = "head_attention_value_output", "mlp_activation"


class Interchange:
    """A model with one intervention site for the heads of each layer and one for its neurons."""

    def __init__(self, model, folder: Folder) -> None:
        self.d_mlp = folder.d_mlp
        self.sites = {
            (layer, part): pyvene.IntervenableModel(self._config(layer, part), model=model)
            for layer in range(folder.n_layer)
            for part in (HEADS, NEURONS)
        }
        both = [(layer, part) for layer in range(folder.n_layer) for part in (HEADS, NEURONS)]
        configs = [c for layer, part in both for c in self._config(layer, part).representations]
        self.all = pyvene.IntervenableModel(pyvene.IntervenableConfig(configs), model=model)
        self.both = both

    def _config(self, layer: int, part: str):
        site = {"layer": layer, "component": part, "intervention_type": pyvene.VanillaIntervention}
        if part == HEADS:
            return pyvene.IntervenableConfig([{**site, "unit": "h.pos"}])
        return pyvene.IntervenableConfig(
            [{**site, "unit": "pos", "subspace_partition": [[i, i + 1] for i in range(self.d_mlp)]}]
        )

    def one(self, prompts: Prompts, layer: int, part: str, index: int) -> float:
        """The logit difference with one head or neuron interchanged."""
        return self._run(self.sites[layer, part], prompts, [(part, [index])])

    def many(self, prompts: Prompts, rest: list[tuple[list[int], list[int]]]) -> float:
        """With all these heads and neurons, by layer, interchanged at once."""
        chosen = [(part, rest[layer][part == NEURONS]) for layer, part in self.both]
        return self._run(self.all, prompts, chosen)

    def _run(self, site, prompts: Prompts, chosen: list[tuple[str, list[int]]]) -> float:
        n, length = prompts.tokens.shape
        positions = [list(range(length))] * n
        places, subspaces = [], []
        for part, index in chosen:
            places.append([[index] * n, positions] if part == HEADS else positions)
            subspaces.append(None if part == HEADS else [index] * n)
        found = site(
            {"input_ids": prompts.tokens}, [{"input_ids": prompts.other}] * len(chosen),
            {"sources->base": (places, places)},
            subspaces=subspaces if any(subspaces) else None,
        )[1]  # fmt: skip
        return float(prompts.difference(found.logits))


def run(folder: Folder) -> dict[str, dict]:
    """Every head and neuron, then every circuit."""
    model = AutoModelForCausalLM.from_pretrained(folder.path).eval()
    interchange, prompts, began = Interchange(model, folder), folder.discovery, time.process_time()
    scores = {}
    with torch.no_grad():
        whole = float(prompts.difference(model(prompts.tokens).logits))
        for layer in range(folder.n_layer):
            for name, part, n in ((f"a{layer}.h", HEADS, folder.n_head),
                                  (f"m{layer}.n", NEURONS, folder.d_mlp)):  # fmt: skip
                for i in range(n):
                    found = interchange.one(prompts, layer, part, i)
                    scores[f"{name}{i}"] = whole - found
        seconds, asked = time.process_time() - began, folder.evaluation
        faithfulness = folder.faithfulness(
            lambda circuit: interchange.many(asked, folder.rest(circuit)),
            float(asked.difference(model(asked.tokens).logits)),
        )
    found = method(parts=scores, faithfulness=faithfulness, seconds=seconds)
    return {"interchange": found}


if __name__ == "__main__":
    main(("pyvene", "transformers", "torch"), run)
